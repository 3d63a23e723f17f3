// Loops of integer layers, which compute on integers held in floats: onto the integers, between grids, and back.
//
// All exact: the same bits on every instruction set. Products are rounded before the subtraction, rounding is half to
// even, divisions are true divisions. Outputs may be the input itself, but must not overlap it otherwise.
#pragma once

#include <stddef.h>

namespace qgrad {

// q = clamp(round(scale * x / divisor - zero_point), qmin, qmax);  x = (q + zero_point) * divisor / scale, each from
// left to right. Distiller's convention has divisor 1, ONNX's scale 1 and zero point 0 (the integers less their zero
// point): multiplying by 1, dividing by 1 and subtracting 0 change nothing.
struct IntegerGrid {
  float scale = 1, divisor = 1, zero_point = 0;
  float qmin = 0, qmax = 0;
};

// From an accumulator to the output's grid and back to float:
//   q = clamp(round(rescale * clamp(accumulator, low, high) / divisor - zero_point), qmin, qmax);
//   y = (q + zero_point) * divisor / scale of the grid
struct Requantization {
  float low = -__builtin_inff();  // 0 where a ReLU is fused
  float divisor = 1;
  IntegerGrid grid;
};

struct IntegerKernels {
  // y = q + zero_point
  void (*to_integers)(const float* x, float* y, size_t n, const IntegerGrid& grid);
  // And from there onto another grid of zero point 0: clamp(round(rescale * to_integers(x)), low, high).
  void (*to_integers_rescaled)(const float* x, float* y, size_t n, const IntegerGrid& grid, float rescale, float low,
                               float high);
  // y = (q + zero_point) * divisor / scale
  void (*fake_quant)(const float* x, float* y, size_t n, const IntegerGrid& grid);
  void (*requantize)(const float* accumulator, float* y, size_t n, float rescale, float high, const Requantization& to);
  // rescale and high are [channels], the last dimension.
  void (*requantize_channels)(const float* accumulator, float* y, size_t rows, size_t channels, const float* rescale,
                              const float* high, const Requantization& to);
};

}  // namespace qgrad
