// Convolutions of 3 x 3 taps with fewer multiplications: F(4x4, 3x3) of Winograd's minimal filtering (Lavin and Gray,
// "Fast Algorithms for Convolutional Networks", 2016). A tile of 4 x 4 outputs reads 6 x 6 inputs; both, and the taps,
// are seen as polynomials, whose product at 6 x 6 pairs of points is one multiplication for each, where the outputs
// have 144. The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity: their powers are floats, and sums have two
// to three times the mean error of direct ones, a quarter of what 0, 1, -1, 2, -2 and infinity leave.
//
// Of y = A^T [(G w G^T) (B^T x B)] A, the gradient for w is G^T [(A dy A^T) (B^T x B), summed over tiles] G.
//
// A sum is rounded in other places than a direct one. On every row, and for every cut of the batch, an output has the
// same bits.
#pragma once

#include <cstdint>

#include "core/kernels/conv/conv.h"

namespace qgrad {

inline constexpr int64_t kWinogradOutputs = 4, kWinogradInputs = 6;  // of a tile, each way
inline constexpr int64_t kWinogradPoints = kWinogradInputs * kWinogradInputs;
inline constexpr int64_t kWinogradChannels = 16;  // at least: kernels know no parts of a vector

// Some rows of the tiles of an image: tile (r, c) has its outputs at (4 r, 4 c).
struct WinogradTiles {
  int64_t row, rows, columns;
  int64_t count() const { return rows * columns; }
};

// Rows [first, last) of the panels of all input channels one after the other, [panels][in] rows of kPanel numbers.
struct WinogradWeight {
  ConvPanels taps;  // of 3 x 3
  int64_t in, first, last;
  float* to;     // their values, [points][panels][in][kPanel]
  int64_t step;  // floats from one point to the next
};

// x: the inputs under the tiles, with zeros where an image has none, [4 rows + 2, 4 columns + 2, channels], or
// gradients of the outputs, [4 rows, 4 columns, channels]; to: their values, [points, count, channels], `step` floats
// from one point to the next.
struct WinogradInput {
  WinogradTiles tiles;
  int64_t channels;
  const float* x;
  float* to;
  int64_t step;
};

// from: values of the products, [points, count, g.out]; y and what follows: as of a ConvForward.
struct WinogradOutput {
  WinogradTiles tiles;
  const float* from;
  int64_t step;
  const float* bias;
  float* y;
  ConvEnding ending;
};

// from: sums of products over tiles, [points, in, out]; to: the gradient of the taps that they come to, [3, 3, in] rows
// of `out` numbers, `pitch` floats from one to the next.
struct WinogradTaps {
  int64_t in, out;
  const float* from;
  int64_t step;
  float* to;
  int64_t pitch;
};

struct WinogradKernels {
  void (*weight)(const WinogradWeight&);
  void (*input)(const WinogradInput&);
  void (*output)(const ConvGeometry&, const WinogradOutput&);
};

// Apart from them, as the engine does without.
struct WinogradGradientKernels {
  void (*output)(const WinogradInput&);
  void (*weight)(const WinogradTaps&);
};

}  // namespace qgrad
