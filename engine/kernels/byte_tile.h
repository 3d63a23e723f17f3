// The innermost loops of the engine's convolution, as their callers see them. Everything here is private to the file
// that includes it, as AVX2 files may not share functions.
#pragma once

#include "engine/kernels/byte_kernels.h"

namespace qgrad {
namespace {

// Of the input under `rows` output rows.
inline int64_t rows_under(const ConvGeometry& g, int64_t rows) {
  return (rows - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
}
inline int64_t columns_under(const ConvGeometry& g) {
  return (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
}

inline int64_t panels_of_group(const ConvGeometry& g) { return (g.out / g.groups + kBytePanel - 1) / kBytePanel; }

// Depthwise layers have one group of channels as far as panels are concerned.
inline int64_t panels_of(const ConvGeometry& g, bool depthwise) {
  return depthwise ? (g.out + kBytePanel - 1) / kBytePanel : g.groups * panels_of_group(g);
}

// A NaN becomes low.
inline float to_grid(float x, float rescale, float divisor, float zero_point, float low, float high, float qmin) {
  const float rounded = __builtin_nearbyintf(rescale * x / divisor - zero_point);
  const float raised = rounded > low ? rounded : low;
  return (raised > high ? high : raised) - qmin;
}

// round(sum * multiplier / 2^shift - zero_point), half to even. Shifting right rounds down; what is added before brings
// everything above a half up, and a half itself where the result would be odd.
inline int64_t in_fixed_point(int64_t sum, int32_t multiplier, int32_t shift, int32_t zero_point) {
  const int64_t product = sum * multiplier;
  const int64_t is_odd = ((product >> shift) ^ zero_point) & 1;
  return ((product + (int64_t{1} << (shift - 1)) - 1 + is_odd) >> shift) - zero_point;
}

constexpr int kByteTile = 3;

// y[p] = requantized(bias + the panel's steps on the bytes from x[p] on).
struct ByteTile {
  const uint8_t* x[kByteTile];
  uint8_t* y[kByteTile];
  BytePanel panel;
  const int32_t* bias;      // [kBytePanel], as those that follow
  const int32_t* fraction;  // or null
  int32_t sum_shift;
  const float* rescale;
  const int32_t* multiplier;  // or null
  const int32_t* shift;
  const uint8_t* low;
  const uint8_t* high;
  float zero_point;
  int32_t qmin;
  int64_t positions, lanes;  // 1 .. kByteTile, 1 .. kBytePanel
};

}  // namespace
}  // namespace qgrad
