// Layers that compute in float though their model is quantized, and how much of the work that is.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace qgrad {

struct LeftInFloat {
  std::string path;
  bool weights, input;  // which of them is not quantized: one at least
  double share;         // of all multiplications of layers with weights, and of products of matrices
};

// Of a model that a quantizer for training prepared, in execution order. example: the model's inputs. Products of
// matrices have no weights, and are quantized by none.
std::vector<LeftInFloat> left_in_float(Module& model, std::span<const Tensor> example);

// "left in float, 1.2 % of the multiplications: conv1 (input), fc (weights, input)"; empty where nothing is.
std::string in_words(const std::vector<LeftInFloat>& layers);

}  // namespace qgrad
