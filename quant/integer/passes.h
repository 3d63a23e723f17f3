// The elementwise passes of integer layers as operations on tensors. None has a gradient; backward through one throws.
#pragma once

#include <span>
#include <vector>

#include "core/tensor.h"
#include "quant/settings.h"

namespace qgrad {

// A quantized layer's sums before they are brought to the output's grid: integers (or, where a layer computes in float,
// floats with scale 1) that stand for values / scale. One scale, or one per channel, the last dimension.
struct Accumulator {
  Tensor values;
  std::vector<float> scale;
};

// What happens to an accumulator before it is requantized.
struct AccumulatorLimits {
  QuantizedRange range;  // what its integers can hold
  bool relu = false;
  std::optional<float> relu_cap;  // the largest real value that passes: 6 for ReLU6
};

// The integers of a tensor with their zero point added: clamp(round(scale * x - zero_point), qmin, qmax) + zero_point.
Tensor to_integers(const Tensor& x, const QuantMetadata& grid);
// These on another grid of zero point 0: clamp(round(rescale * to_integers(x))) to `range`.
Tensor to_integers_rescaled(const Tensor& x, const QuantMetadata& grid, float rescale, const QuantizedRange& range);
// The values that the integers of a tensor stand for: (q + zero_point) / scale.
Tensor fake_quantized(const Tensor& x, const QuantMetadata& grid);

// The real values of a limited accumulator.
Tensor to_real(const Accumulator& accumulator, const AccumulatorLimits& limits);
// q = clamp(round(rescale * limited accumulator - zero_point), qmin, qmax), returned as (q + zero_point) / scale with
// its metadata. rescale: one factor, or one per channel. Overwrites the accumulator where nobody else holds it.
Tensor requantized(Accumulator accumulator, const AccumulatorLimits& limits, std::span<const float> rescale,
                   const QuantMetadata& output);

}  // namespace qgrad
