// Depthwise convolution: channels in the lanes of one vector or two, a tile of positions (forward) or of taps (weight
// gradient) in registers. Included by conv_tiled.inl only.
#pragma once

#include "core/kernels/conv/band.h"
#include "core/kernels/conv/conv.h"
#include "core/kernels/tiles.h"

namespace qgrad {
namespace conv_tiles {
namespace {

constexpr int kDepthwisePositions = 8;
constexpr int kDepthwiseTaps = 4;

// The ending of a vector of sums that a tile has just stored, which the first cache still holds: inside the tiles it
// costs twice their code, and the loops their best registers.
template <bool Masked>
void finish(const ConvForward& a, float* y, Mask mask) {
  Vector sum = load_lanes<Masked>(y, mask);
  if (a.ending.addend) sum = add(sum, load_lanes<Masked>(a.ending.addend + (y - a.y), mask));
  if (a.ending.clamps) sum = clamp(sum, broadcast(&a.ending.low), broadcast(&a.ending.high));
  store_lanes<Masked>(y, mask, sum);
}

// A vector of channels of up to eight neighbouring positions of one row: y[p] = bias + sum over (kh, kw) of
// x[p * x_step + kh * kh_step + kw * kw_step] * weight[(kh * columns + kw) * weight_step].
struct DepthwiseTile {
  const float* x;
  const float* weight;
  const float* bias;  // or null
  float* y;
  int64_t lanes;  // 1 .. kVectorLanes
  int64_t rows, columns, kh_step, kw_step, weight_step;
  int64_t x_step, y_step;
};

template <int P, bool Masked>
[[gnu::noinline]] void depthwise_tile(const DepthwiseTile& t) {
  const Mask mask = first_lanes(t.lanes);
  Vector sum[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) sum[p] = t.bias ? load_lanes<Masked>(t.bias, mask) : zeros();
  const float* __restrict weight = t.weight;
  for (int64_t kh = 0; kh < t.rows; ++kh) {
    const float* __restrict x = t.x + kh * t.kh_step;
    for (int64_t kw = 0; kw < t.columns; ++kw, x += t.kw_step, weight += t.weight_step) {
      const Vector w = load_lanes<Masked>(weight, mask);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[p] = multiply_add(load_lanes<Masked>(x + p * t.x_step, mask), w, sum[p]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) store_lanes<Masked>(t.y + p * t.y_step, mask, sum[p]);
}

template <int P, bool Masked>
void depthwise_tile_of(int64_t positions, const DepthwiseTile& t) {
  if constexpr (P > 1)
    if (positions < P) return depthwise_tile_of<P - 1, Masked>(positions, t);
  depthwise_tile<P, Masked>(t);
}

template <bool Masked>
void run_depthwise_tile(const ConvForward& a, int64_t positions, const DepthwiseTile& t) {
  depthwise_tile_of<kDepthwisePositions, Masked>(positions, t);
  if (a.ending.any())
    for (int64_t p = 0; p < positions; ++p) finish<Masked>(a, t.y + p * t.y_step, first_lanes(t.lanes));
}

// Columns [first, end) of y, whose windows lie inside the image, or where `borders`, not all of them: then from a copy
// with zeros around it. Rows outside are not read anyway.
void depthwise_columns(const ConvGeometry& whole, const ConvForward& forward, int64_t first, int64_t end,
                       bool borders) {
  if (first >= end) return;
  ConvGeometry g = whole;
  ConvForward a = forward;
  g.out_w = end - first;
  g.padding_w -= first * g.stride_w;
  a.y += first * g.pixel_pitch;
  if (a.ending.addend) a.ending.addend += first * g.pixel_pitch;
  const Band band = borders ? make_band(g, a.x, 1, {a.row_begin, a.row_end}, a.scratch) : Band{a.x, 0, g.in_w * g.in};
  // From there to where the first window of row 0 starts.
  const int64_t origin =
      borders ? -a.row_begin * g.stride_h * band.row_pitch : -g.padding_h * band.row_pitch - g.padding_w * g.in;
  const int64_t blocks = divide_up(g.out_w, kDepthwisePositions), small = g.out_w / blocks, larger = g.out_w % blocks;
  DepthwiseTile t{};
  t.columns = g.kernel_w, t.kh_step = g.dilation_h * band.row_pitch, t.kw_step = g.dilation_w * g.in;
  t.weight_step = g.out, t.x_step = g.stride_w * g.in, t.y_step = g.pixel_pitch;
  const int64_t row_floats = g.stride_h * g.in_w * g.in;
  Prefetch prefetch(a.x, a.row_end * row_floats, (a.row_end - a.row_begin) * row_floats,
                    (a.row_end - a.row_begin) * blocks);
  for (int64_t row = a.row_begin; row < a.row_end; ++row) {
    const Taps taps = taps_inside(g, row, row);
    t.rows = taps.end - taps.begin;
    const float* x = band.data + (origin + row * g.stride_h * band.row_pitch + taps.begin * t.kh_step);
    for (int64_t block = 0, column = 0; block < blocks; ++block) {
      const int64_t positions = small + (block < larger);
      prefetch.step();
      for (int64_t channel = 0; channel < g.out; channel += kVectorLanes) {
        t.lanes = least(kVectorLanes, g.out - channel);
        t.x = x + column * t.x_step + channel;
        t.weight = a.weight.data + taps.begin * g.kernel_w * g.out + channel;
        t.bias = a.bias ? a.bias + channel : nullptr;
        t.y = a.y + row * g.row_pitch + column * g.pixel_pitch + channel;
        t.lanes == kVectorLanes ? run_depthwise_tile<false>(a, positions, t)
                                : run_depthwise_tile<true>(a, positions, t);
      }
      column += positions;
    }
  }
}

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  const int64_t left = least(g.out_w, divide_up(most(g.padding_w, 0), g.stride_w));
  const int64_t last = g.in_w - 1 - (g.kernel_w - 1) * g.dilation_w + g.padding_w;  // where a window still fits
  const int64_t right = last < 0 ? left : most(left, least(g.out_w, last / g.stride_w + 1));
  depthwise_columns(g, a, 0, left, true);
  depthwise_columns(g, a, left, right, false);
  depthwise_columns(g, a, right, g.out_w, true);
}

// Two vectors of channels of up to four neighbouring taps: dw[tap * dw_step] += sum over (image, row, position) of
// x[.. + tap * tap_step] * dy[..].
struct DepthwiseTapsTile {
  const float* x;
  const float* dy;
  float* dw;
  int64_t lanes;  // 1 .. kOuterColumns
  int64_t tap_step, dw_step;
  int64_t images, x_image, dy_image;
  int64_t rows, x_row, dy_row;
  int64_t positions, x_step, dy_step;
};

template <int T, bool Masked>
[[gnu::noinline]] void depthwise_taps_tile(const DepthwiseTapsTile& t) {
  const Mask low = first_lanes(t.lanes), high = first_lanes(t.lanes - kVectorLanes);
  Vector sum[T][2];
#pragma GCC unroll 4
  for (int k = 0; k < T; ++k) sum[k][0] = sum[k][1] = zeros();
  for (int64_t image = 0; image < t.images; ++image)
    for (int64_t row = 0; row < t.rows; ++row) {
      const float* __restrict x = t.x + image * t.x_image + row * t.x_row;
      const float* __restrict dy = t.dy + image * t.dy_image + row * t.dy_row;
      for (int64_t position = t.positions; position > 0; --position, x += t.x_step, dy += t.dy_step) {
        const Vector dy_low = load_lanes<Masked>(dy, low), dy_high = load_lanes<Masked>(dy + kVectorLanes, high);
#pragma GCC unroll 4
        for (int k = 0; k < T; ++k) {
          const float* tap = x + k * t.tap_step;
          sum[k][0] = multiply_add(load_lanes<Masked>(tap, low), dy_low, sum[k][0]);
          sum[k][1] = multiply_add(load_lanes<Masked>(tap + kVectorLanes, high), dy_high, sum[k][1]);
        }
      }
    }
#pragma GCC unroll 4
  for (int k = 0; k < T; ++k) {
    float* dw = t.dw + k * t.dw_step;
    store_lanes<Masked>(dw, low, add(load_lanes<Masked>(dw, low), sum[k][0]));
    dw += kVectorLanes;
    store_lanes<Masked>(dw, high, add(load_lanes<Masked>(dw, high), sum[k][1]));
  }
}

template <int T, bool Masked>
void depthwise_taps_tile_of(int64_t taps, const DepthwiseTapsTile& t) {
  if constexpr (T > 1)
    if (taps < T) return depthwise_taps_tile_of<T - 1, Masked>(taps, t);
  depthwise_taps_tile<T, Masked>(t);
}

void depthwise_weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  if (a.images == 0 || a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, a.images, {a.row_begin, a.row_end}, a.scratch);
  DepthwiseTapsTile t{};
  t.tap_step = g.dilation_w * g.in, t.dw_step = g.pixel_pitch;
  t.images = a.images, t.x_image = band.image_pitch, t.dy_image = g.out_h * g.row_pitch;
  t.x_row = g.stride_h * band.row_pitch, t.dy_row = g.row_pitch;
  t.positions = g.out_w, t.x_step = g.stride_w * g.in, t.dy_step = g.pixel_pitch;
  for (int64_t channel = 0; channel < g.out; channel += kOuterColumns) {
    t.lanes = least(kOuterColumns, g.out - channel);
    for (int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const Rows rows = rows_inside(g, kh, a.row_begin, a.row_end);
      t.rows = rows.end - rows.begin;
      t.dy = a.dy + rows.begin * t.dy_row + channel;
      for (int64_t kw = 0; kw < g.kernel_w; kw += kDepthwiseTaps) {
        t.x = band.data + (rows.begin - a.row_begin) * t.x_row + kh * g.dilation_h * band.row_pitch + kw * t.tap_step +
              channel;
        t.dw = a.dw + (kh * g.kernel_w + kw) * g.pixel_pitch + channel;
        const int64_t taps = least(kDepthwiseTaps, g.kernel_w - kw);
        t.lanes == kOuterColumns ? depthwise_taps_tile_of<kDepthwiseTaps, false>(taps, t)
                                 : depthwise_taps_tile_of<kDepthwiseTaps, true>(taps, t);
      }
    }
  }
}

}  // namespace
}  // namespace conv_tiles
}  // namespace qgrad
