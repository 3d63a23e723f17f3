// The innermost loop of the engine's convolution, as its callers see it. Everything here is private to the file that
// includes it, as AVX2 files may not share functions.
#pragma once

#include "core/kernels/byte_kernels.h"

namespace qgrad {
namespace {

// Consecutive inputs that one row of taps multiplies: all taps of the row where they touch.
struct ByteRuns {
  int64_t count, step, length, pairs;
};

inline ByteRuns byte_runs(const ConvGeometry& g) {
  const int64_t in_group = g.in / g.groups;
  if (g.groups == 1 && g.dilation_w == 1) return {1, 0, g.kernel_w * in_group, (g.kernel_w * in_group + 1) / 2};
  return {g.kernel_w, g.dilation_w * g.in, in_group, (in_group + 1) / 2};
}

// Of the input under `rows` output rows.
inline int64_t rows_under(const ConvGeometry& g, int64_t rows) {
  return (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
}
inline int64_t columns_under(const ConvGeometry& g) {
  return (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
}

inline int64_t panels_of_group(const ConvGeometry& g) { return (g.out / g.groups + kBytePanel - 1) / kBytePanel; }

// A NaN becomes low.
inline float to_grid(float x, float rescale, float divisor, float zero_point, float low, float high, float qmin) {
  const float rounded = __builtin_nearbyintf(rescale * x / divisor - zero_point);
  const float raised = rounded > low ? rounded : low;
  return (raised > high ? high : raised) - qmin;
}

constexpr int kByteTile = 6;

// y[p] = requantized(bias + sum over (outer, inner, k) of x[p][outer * outer_step + inner * inner_step + k] * weight)
struct ByteTile {
  const int16_t* x[kByteTile];
  uint8_t* y[kByteTile];
  const int16_t* weight;  // [outer][inner][pairs][kBytePanel][2]
  const int32_t* bias;    // [kBytePanel], as those that follow
  const float* rescale;
  const float* low;
  const float* high;
  float zero_point, qmin;
  int64_t positions, lanes;  // 1 .. kByteTile, 1 .. kBytePanel
  int64_t outer, outer_step, inner, inner_step, pairs;
};

}  // namespace
}  // namespace qgrad
