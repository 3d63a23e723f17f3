// What each layer of a model quantized after training adds to its error, worst first.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/json.h"
#include "nn/module.h"

namespace qgrad {

// A layer's output y against the float layer's output r, over all values of all images.
struct LayerError {
  std::string path, kind;         // kind: of the float layer
  double sqnr_db = 0;             // 10 log10(sum r^2 / sum (y - r)^2); infinite where nothing differs
  double mean_squared_error = 0;  // mean (y - r)^2
  double saturation = 0;          // share of r that lies more than half a step outside of the output's grid
  double cosine = 1;              // sum y r / sqrt(sum y^2 sum r^2)
};

// The error that a layer adds itself, not what it inherits: every layer gets the float model's input to it, once as it
// is in the float layer, once on its own input grid (the calibrated one) in the quantized layer, so that a fault in one
// layer does not show in those behind it. Where the model's input reaches a layer in float, its quantization is the
// layer's own error; on inputs that an earlier layer has quantized both forms get the quantized values, since that
// rounding is the earlier layer's. A ReLU that the quantized layer computes is applied to r too. Sorted by sqnr_db,
// the lowest first: the noise a layer adds, in proportion to its signal, is what a model can not get rid of later.
//
// reference: the float model with batch norms folded as in the quantized one. Both in evaluation mode.
std::vector<LayerError> layer_report(Module& quantized, Module& reference, std::span<const Tensor> batches);

// [{"path", "kind", "sqnr_db", "mean_squared_error", "saturation", "cosine"}]; an infinite sqnr_db is null.
Json to_json(const std::vector<LayerError>& layers);

}  // namespace qgrad
