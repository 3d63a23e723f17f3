// Loops of integer layers, which compute on integers held in floats: onto the integers, between grids, and back.
//
// All exact: the same bits on every instruction set. Products are rounded before the subtraction, rounding is half to
// even, divisions are true divisions. Outputs may be the input itself, but must not overlap it otherwise.
#pragma once

#include <stddef.h>

#include "core/kernels/quant_kernels.h"

namespace qgrad {

// From an accumulator to the output's grid and back to float:
//   q = clamp(round(rescale * clamp(accumulator, low, high) - zero_point), qmin, qmax);  y = (q + zero_point) / scale
struct Requantization {
  float low = -__builtin_inff();  // 0 where a ReLU is fused
  float scale = 1, zero_point = 0;
  float qmin = 0, qmax = 0;
};

struct IntegerKernels {
  // y = clamp(round(scale * x - zero_point), qmin, qmax) + zero_point; the grid's low and high are not looked at.
  void (*to_integers)(const float* x, float* y, size_t n, const QuantGrid& grid);
  // And from there onto another grid of zero point 0: clamp(round(rescale * to_integers(x)), low, high), with the
  // grid's low and high as the other grid's limits.
  void (*to_integers_rescaled)(const float* x, float* y, size_t n, const QuantGrid& grid, float rescale);
  void (*requantize)(const float* accumulator, float* y, size_t n, float rescale, float high, const Requantization& to);
  // rescale and high are [channels], the last dimension.
  void (*requantize_channels)(const float* accumulator, float* y, size_t rows, size_t channels, const float* rescale,
                              const float* high, const Requantization& to);
};

}  // namespace qgrad
