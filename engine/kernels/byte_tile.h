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
inline int64_t panels_of(const ByteConvLayer& layer) {
  const ConvGeometry& g = layer.geometry;
  return layer.depthwise ? (g.out + layer.panel - 1) / layer.panel : g.groups * panels_of_group(g);
}

// A NaN becomes low.
inline uint8_t to_byte(float x, float low, float high, float origin) {
  const float rounded = __builtin_nearbyintf(x);
  const float raised = rounded > low ? rounded : low;
  return static_cast<uint8_t>(static_cast<int32_t>((raised > high ? high : raised) + origin));
}

// The most positions of a tile on any instruction set.
constexpr int kMostBytePositions = 9;

// From the sums of a tile's channels to bytes, or to floats.
struct ByteEnding {
  const int32_t* fraction;  // or null
  int32_t sum_shift;
  const float* rescale;
  bool large_steps;
  const float* real_bias;  // null: to bytes
  const uint8_t* low;
  const uint8_t* high;
  int32_t origin;
  int64_t lanes;  // of both panels, the first one is full where there are two
};

// y[p] = requantized(bias + the panels' steps on the bytes from x[p] on). So for each of some blocks of positions.
struct ByteTile {
  const uint8_t* x[kMostBytePositions];
  uint8_t* y[kMostBytePositions];
  const BytePanel* panel;  // of a pair the first, if there are two
  const int32_t* bias;     // [panels][channels of one], as are the vectors of the ending
  ByteEnding ending;
  int64_t panels, positions, blocks;
  int64_t x_block, y_block;  // bytes from one block to the next
};

}  // namespace
}  // namespace qgrad
