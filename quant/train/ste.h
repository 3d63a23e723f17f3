// Quantization with a straight-through gradient, for training.
#pragma once

#include <optional>

#include "core/tensor.h"
#include "quant/affine.h"

namespace qgrad {

struct SteOptions {
  // Quantized values are clamped to this range, which integers of that width can hold. None: Distiller's behaviour,
  // which reaches one level too many where the largest value lies on a rounding tie.
  std::optional<QuantizedRange> integers;
  // x is clamped to this first, and has no gradient outside of it (it has one at both ends). Not with scales per
  // channel.
  std::optional<ValueRange> saturation;
  bool dequantize = true;  // false: the result is the integers; the gradient stays the same
};

// y = (q + zero_point) / scale with q = round(scale * x - zero_point), in one pass; the gradient passes as if y were x.
// Per-channel parameters belong to the last dimension. A dequantized result with one scale and a range of integers
// carries its grid().
// (Distiller q_utils.LinearQuantizeSTE; Bengio et al., "Estimating or propagating gradients through stochastic
// neurons", 2013)
Tensor linear_quantize_ste(const Tensor& x, const LinearQuantParams& params, const SteOptions& options);

}  // namespace qgrad
