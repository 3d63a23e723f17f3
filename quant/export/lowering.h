// From a model of integer layers to an integer program that computes the same integers.
#pragma once

#include <string>
#include <vector>

#include "engine/program.h"
#include "nn/module.h"

namespace qgrad::deploy {

struct Lowered {
  Program program;
  // Layers whose sums may pass 2^24 for some input: the program adds them up exactly, the simulation, which keeps its
  // integers in float32, rounds.
  std::vector<std::string> beyond_simulation;
};

// model: prepared by a PostTrainLinearQuantizer with calibration statistics, 2 to 8 bits, or turned into integer layers
// by to_integer_layers (from_trained.h); in evaluation mode. Layers that are not quantized stay in float. A model
// without any quantization becomes a program of float operations. example: one image [1,H,W,C] or vector [1,C], of the
// size that the program will take. Every tensor that a layer puts on a grid has that layer's path for its name. Throws
// Error for what can not be lowered, with the layer and the reason.
Lowered lower(Module& model, const Tensor& example);

}  // namespace qgrad::deploy
