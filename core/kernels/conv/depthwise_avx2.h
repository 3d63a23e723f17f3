// Depthwise convolution for AVX2: eight or sixteen channels in the lanes, a tile of positions (forward) or of taps
// (weight gradient) in registers. Included by conv_avx2.cpp only.
#pragma once

#include <immintrin.h>

#include "core/kernels/conv/band_avx2.h"
#include "core/kernels/conv/conv.h"
#include "core/kernels/tiles_avx2.h"

namespace qgrad {
namespace {

constexpr int kDepthwisePositions = 8;
constexpr int kDepthwiseTaps = 4;

// Eight channels of up to eight neighbouring positions of one row: y[p] = bias + sum over (kh, kw) of
// x[p * x_step + kh * kh_step + kw * kw_step] * weight[(kh * columns + kw) * weight_step].
struct DepthwiseTile {
  const float* x;
  const float* weight;
  const float* bias;  // or null
  float* y;
  int64_t lanes;  // 1 .. 8
  int64_t rows, columns, kh_step, kw_step, weight_step;
  int64_t x_step, y_step;
};

template <int P, bool Masked>
[[gnu::noinline]] void depthwise_tile(const DepthwiseTile& t) {
  const __m256i mask = lane_mask(t.lanes, 0);
  __m256 sum[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) sum[p] = t.bias ? load<Masked>(t.bias, mask) : _mm256_setzero_ps();
  const float* __restrict weight = t.weight;
  for (int64_t kh = 0; kh < t.rows; ++kh) {
    const float* __restrict x = t.x + kh * t.kh_step;
    for (int64_t kw = 0; kw < t.columns; ++kw, x += t.kw_step, weight += t.weight_step) {
      const __m256 w = load<Masked>(weight, mask);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[p] = _mm256_fmadd_ps(load<Masked>(x + p * t.x_step, mask), w, sum[p]);
    }
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) store<Masked>(t.y + p * t.y_step, mask, sum[p]);
}

// Indexed by whether there are fewer than eight lanes, and by positions - 1.
void (*const depthwise_tiles[2][kDepthwisePositions])(const DepthwiseTile&) = {
    {depthwise_tile<1, false>, depthwise_tile<2, false>, depthwise_tile<3, false>, depthwise_tile<4, false>,
     depthwise_tile<5, false>, depthwise_tile<6, false>, depthwise_tile<7, false>, depthwise_tile<8, false>},
    {depthwise_tile<1, true>, depthwise_tile<2, true>, depthwise_tile<3, true>, depthwise_tile<4, true>,
     depthwise_tile<5, true>, depthwise_tile<6, true>, depthwise_tile<7, true>, depthwise_tile<8, true>}};

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, 1, {a.row_begin, a.row_end}, a.scratch);
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
    const float* x = band.data + (row - a.row_begin) * g.stride_h * band.row_pitch + taps.begin * t.kh_step;
    for (int64_t block = 0, column = 0; block < blocks; ++block) {
      const int64_t positions = small + (block < larger);
      prefetch.step();
      for (int64_t channel = 0; channel < g.out; channel += 8) {
        t.lanes = least(8, g.out - channel);
        t.x = x + column * t.x_step + channel;
        t.weight = a.weight.data + taps.begin * g.kernel_w * g.out + channel;
        t.bias = a.bias ? a.bias + channel : nullptr;
        t.y = a.y + row * g.row_pitch + column * g.pixel_pitch + channel;
        depthwise_tiles[t.lanes < 8][positions - 1](t);
      }
      column += positions;
    }
  }
}

// Sixteen channels of up to four neighbouring taps: dw[tap * dw_step] += sum over (image, row, position) of
// x[.. + tap * tap_step] * dy[..].
struct DepthwiseTapsTile {
  const float* x;
  const float* dy;
  float* dw;
  int64_t lanes;  // 1 .. 16
  int64_t tap_step, dw_step;
  int64_t images, x_image, dy_image;
  int64_t rows, x_row, dy_row;
  int64_t positions, x_step, dy_step;
};

template <int T, bool Masked>
[[gnu::noinline]] void depthwise_taps_tile(const DepthwiseTapsTile& t) {
  const __m256i low = lane_mask(t.lanes, 0), high = lane_mask(t.lanes, 8);
  __m256 sum[T][2];
#pragma GCC unroll 4
  for (int k = 0; k < T; ++k) sum[k][0] = sum[k][1] = _mm256_setzero_ps();
  for (int64_t image = 0; image < t.images; ++image)
    for (int64_t row = 0; row < t.rows; ++row) {
      const float* __restrict x = t.x + image * t.x_image + row * t.x_row;
      const float* __restrict dy = t.dy + image * t.dy_image + row * t.dy_row;
      for (int64_t position = t.positions; position > 0; --position, x += t.x_step, dy += t.dy_step) {
        const __m256 dy_low = load<Masked>(dy, low), dy_high = load<Masked>(dy + 8, high);
#pragma GCC unroll 4
        for (int k = 0; k < T; ++k) {
          sum[k][0] = _mm256_fmadd_ps(load<Masked>(x + k * t.tap_step, low), dy_low, sum[k][0]);
          sum[k][1] = _mm256_fmadd_ps(load<Masked>(x + k * t.tap_step + 8, high), dy_high, sum[k][1]);
        }
      }
    }
#pragma GCC unroll 4
  for (int k = 0; k < T; ++k) {
    float* dw = t.dw + k * t.dw_step;
    store<Masked>(dw, low, _mm256_add_ps(load<Masked>(dw, low), sum[k][0]));
    store<Masked>(dw + 8, high, _mm256_add_ps(load<Masked>(dw + 8, high), sum[k][1]));
  }
}

// Indexed by whether there are fewer than sixteen lanes, and by taps - 1.
void (*const depthwise_taps_tiles[2][kDepthwiseTaps])(const DepthwiseTapsTile&) = {
    {depthwise_taps_tile<1, false>, depthwise_taps_tile<2, false>, depthwise_taps_tile<3, false>,
     depthwise_taps_tile<4, false>},
    {depthwise_taps_tile<1, true>, depthwise_taps_tile<2, true>, depthwise_taps_tile<3, true>,
     depthwise_taps_tile<4, true>}};

void depthwise_weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  if (a.images == 0 || a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, a.images, {a.row_begin, a.row_end}, a.scratch);
  DepthwiseTapsTile t{};
  t.tap_step = g.dilation_w * g.in, t.dw_step = g.out;
  t.images = a.images, t.x_image = band.image_pitch, t.dy_image = g.out_h * g.out_w * g.out;
  t.x_row = g.stride_h * band.row_pitch, t.dy_row = g.out_w * g.out;
  t.positions = g.out_w, t.x_step = g.stride_w * g.in, t.dy_step = g.out;
  for (int64_t channel = 0; channel < g.out; channel += 16) {
    t.lanes = least(16, g.out - channel);
    for (int64_t kh = 0; kh < g.kernel_h; ++kh) {
      const Rows rows = rows_inside(g, kh, a.row_begin, a.row_end);
      t.rows = rows.end - rows.begin;
      t.dy = a.dy + rows.begin * t.dy_row + channel;
      for (int64_t kw = 0; kw < g.kernel_w; kw += kDepthwiseTaps) {
        t.x = band.data + (rows.begin - a.row_begin) * t.x_row + kh * g.dilation_h * band.row_pitch + kw * t.tap_step +
              channel;
        t.dw = a.dw + (kh * g.kernel_w + kw) * g.out + channel;
        depthwise_taps_tiles[t.lanes < 16][least(kDepthwiseTaps, g.kernel_w - kw) - 1](t);
      }
    }
  }
}

}  // namespace
}  // namespace qgrad
