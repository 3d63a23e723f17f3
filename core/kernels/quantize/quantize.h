// Loops of linear quantization: q = round(scale * x - zero_point), x = (q + zero_point) / scale, half to even.
//
// All exact: the same bits on every instruction set (a NaN stays a NaN). The product is rounded before the subtraction,
// and the division is a true division. Outputs may be the input itself, but must not overlap it otherwise.
#pragma once

#include <stddef.h>

namespace qgrad {

// One grid for all numbers. The default limits limit nothing.
struct QuantGrid {
  float scale = 1, zero_point = 0;
  float low = -__builtin_inff(), high = __builtin_inff();   // x is clamped to these first
  float qmin = -__builtin_inff(), qmax = __builtin_inff();  // then the rounded integer to these
};

// A grid for each of the channels, which are the last dimension; arrays of [channels]. x is not clamped.
struct ChannelQuantGrid {
  const float* scale;
  const float* zero_point;
  float qmin = -__builtin_inff(), qmax = __builtin_inff();
};

// Levels at any distances: y = clip * level_k where threshold_(k-1) < x / clip <= threshold_k.
struct LevelGrid {
  const float* levels;      // [count], rising
  const float* thresholds;  // [count - 1], between them
  size_t count;
  float clip;
};

// What the gradients of a learned grid's parameters are made of, see learned_backward.
struct GridSums {
  double inside = 0, below = 0, above = 0;
};

struct QuantizeKernels {
  // q = clamp(round(scale * clamp(x, low, high) - zero_point), qmin, qmax)
  void (*quantize)(const float* x, float* q, size_t n, const QuantGrid& grid);
  void (*quantize_channels)(const float* x, float* q, size_t rows, size_t channels, const ChannelQuantGrid& grid);

  // x = (q + zero_point) / scale
  void (*dequantize)(const float* q, float* x, size_t n, float scale, float zero_point);
  void (*dequantize_channels)(const float* q, float* x, size_t rows, size_t channels, const float* scale,
                              const float* zero_point);

  // y = dequantize(quantize(x)) in one pass.
  void (*fake_quant)(const float* x, float* y, size_t n, const QuantGrid& grid);
  // The same, writing past the caches: for results that are too large to stay in them. y must not be x.
  void (*fake_quant_streaming)(const float* x, float* y, size_t n, const QuantGrid& grid);
  void (*fake_quant_channels)(const float* x, float* y, size_t rows, size_t channels, const ChannelQuantGrid& grid);

  // The straight-through estimator's gradient: dx = dy where low <= x <= high, else 0. dx may be dy.
  void (*mask_outside)(const float* x, const float* dy, float* dx, size_t n, float low, float high);

  void (*to_levels)(const float* x, float* y, size_t n, const LevelGrid& grid);
  // For y = Q(x) on a learned grid whose ends are reached at low and high: dx = dy where low < x < high, else 0 (dx may
  // be dy), and the sums of dy (y - x) there, of dy where x <= low, and of dy where x >= high.
  GridSums (*learned_backward)(const float* x, const float* y, const float* dy, float* dx, size_t n, float low,
                               float high);

  // Smallest and largest number; NaNs are ignored; a zero is +0; no numbers at all: +inf and -inf.
  void (*min_max)(const float* x, size_t n, float* min, float* max);
  // The same for each channel: min and max are [channels].
  void (*min_max_channels)(const float* x, size_t rows, size_t channels, float* min, float* max);
};

}  // namespace qgrad
