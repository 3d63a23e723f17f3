// Quantization with a straight-through gradient, for training.
#pragma once

#include <optional>

#include "core/tensor.h"
#include "quant/affine.h"

namespace qgrad {

struct SteOptions {
  // x is clamped to this first, and has no gradient outside of it (it has one at both ends). Not with scales per
  // channel.
  std::optional<ValueRange> saturation;
  bool dequantize = true;  // false: the result is the integers; the gradient stays the same
};

// y = (q + zero_point) / scale with q = round(scale * x - zero_point), in one pass; the gradient passes as if y were x.
// A dequantized result with one scale and a range of integers carries its grid(). Without such a range it may have one
// level too many, where the largest number lies on a rounding tie, as Distiller's do.
// (Distiller q_utils.LinearQuantizeSTE; Bengio et al., "Estimating or propagating gradients through stochastic
// neurons", 2013)
Tensor linear_quantize_ste(const Tensor& x, const ChannelGrid& grid, const SteOptions& options = {});

}  // namespace qgrad
