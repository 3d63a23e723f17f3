// The elementwise passes of integer layers as operations on tensors. None has a gradient; backward through one throws.
#pragma once

#include <vector>

#include "core/kernels/integer/integer.h"
#include "core/tensor.h"
#include "quant/settings.h"

namespace qgrad {

// A quantized layer's sums before they are brought to the output's grid: integers that stand for values / scale, or
// real values with scale 1 where a layer computes in float. One scale, or one per channel, the last dimension.
struct Accumulator {
  Tensor values;
  std::vector<float> scale;
  std::vector<float> step;  // Arithmetic::onnx: what one of these integers stands for; empty for real values
  bool real = false;        // real values, not integers
};

// What happens to an accumulator before it is requantized.
struct AccumulatorLimits {
  QuantizedRange range;  // what its integers can hold
  bool relu = false;
  std::optional<float> relu_cap;  // the largest real value that passes: 6 for ReLU6
};

// y as what an op makes of x, whose backward throws.
Tensor without_gradient(const char* op, Tensor y, const Tensor& x);

// How the kernels see a grid under a convention.
IntegerGrid integer_grid(const Grid& grid, Arithmetic arithmetic);

// The integers of a tensor with their zero point added: q + zero_point.
Tensor to_integers(const Tensor& x, const Grid& grid, Arithmetic arithmetic);
// These on another grid of zero point 0: clamp(round(rescale * to_integers(x))) to `range`. Arithmetic::distiller.
Tensor to_integers_rescaled(const Tensor& x, const Grid& grid, float rescale, const QuantizedRange& range);
// The values that the integers of a tensor stand for.
Tensor fake_quantized(const Tensor& x, const Grid& grid, Arithmetic arithmetic);

// The real values of a limited accumulator, and a bias for each channel.
Tensor to_real(const Accumulator& accumulator, const AccumulatorLimits& limits, const Tensor& bias = {});
// Brings a limited accumulator to the output's grid: multiplied by `factor`, one or one per channel, and divided by
// `divisor`, 1 but for real values under Arithmetic::onnx. Returns the real values, on their grid. Overwrites the
// accumulator where nobody else holds it.
struct Rescale {
  std::vector<float> factor;
  float divisor = 1;
};
Tensor requantized(Accumulator accumulator, const AccumulatorLimits& limits, const Rescale& rescale, const Grid& output,
                   Arithmetic arithmetic);

}  // namespace qgrad
