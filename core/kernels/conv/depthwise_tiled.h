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

// A vector of channels of up to eight positions: y[p * y_step] = bias + sum over (kh, kw) of
// x[p * x_step + kh * kh_step + kw * kw_step] * weight[kh * weight_row + kw * weight_step]; then the ending.
struct DepthwiseTile {
  const float* x;
  const float* weight;
  const float* bias;  // or null
  float* y;
  int64_t lanes;  // 1 .. kVectorLanes
  int64_t rows, columns, kh_step, kw_step, weight_row, weight_step;
  int64_t x_step, y_step;
  ConvEnding ending;
  const float* image;  // y of the whole image, as which the ending's addend is laid out
};

// The taps of a row of the kernel: of any number; or three, `Step` of which lie between neighbouring positions, so that
// these share what is loaded. Each sum takes its taps in order either way.
constexpr int kAnyStep = 0;
template <int P, int Step, bool Masked>
[[gnu::always_inline]] inline void add_taps(const DepthwiseTile& t, const float* __restrict x,
                                            const float* __restrict weight, Mask mask, Vector (&sum)[P]) {
  if constexpr (Step == kAnyStep) {
    for (int64_t kw = 0; kw < t.columns; ++kw, x += t.kw_step, weight += t.weight_step) {
      const Vector w = load_lanes<Masked>(weight, mask);
#pragma GCC unroll 8
      for (int p = 0; p < P; ++p) sum[p] = multiply_add(load_lanes<Masked>(x + p * t.x_step, mask), w, sum[p]);
    }
  } else {
    Vector w[3];
#pragma GCC unroll 3
    for (int kw = 0; kw < 3; ++kw) w[kw] = load_lanes<Masked>(weight + kw * t.weight_step, mask);
#pragma GCC unroll 17
    for (int column = 0; column < (P - 1) * Step + 3; ++column, x += t.kw_step) {
      const Vector value = load_lanes<Masked>(x, mask);
#pragma GCC unroll 3
      for (int kw = 0; kw < 3; ++kw)
        if (column >= kw && (column - kw) % Step == 0 && (column - kw) / Step < P)
          sum[(column - kw) / Step] = multiply_add(value, w[kw], sum[(column - kw) / Step]);
    }
  }
}

template <int P, int Step, bool Masked>
[[gnu::noinline]] void depthwise_tile(const DepthwiseTile& t) {
  const Mask mask = first_lanes(t.lanes);
  const Vector bias = t.bias ? load_lanes<Masked>(t.bias, mask) : zeros();
  Vector sum[P];
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) sum[p] = bias;
  for (int64_t kh = 0; kh < t.rows; ++kh)
    add_taps<P, Step, Masked>(t, t.x + kh * t.kh_step, t.weight + kh * t.weight_row, mask, sum);
  if (t.ending.addend)
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p)
      sum[p] = add(sum[p], load_lanes<Masked>(t.ending.addend + (t.y + p * t.y_step - t.image), mask));
  if (t.ending.clamps) {
    const Vector low = broadcast(&t.ending.low), high = broadcast(&t.ending.high);
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) sum[p] = clamp(sum[p], low, high);
  }
#pragma GCC unroll 8
  for (int p = 0; p < P; ++p) store_lanes<Masked>(t.y + p * t.y_step, mask, sum[p]);
}

template <int P, int Step, bool Masked>
void depthwise_tile_of(int64_t positions, const DepthwiseTile& t) {
  constexpr int kFewest = Step == kAnyStep ? 1 : kDepthwisePositions / 2 + 1;
  if constexpr (P > kFewest)
    if (positions < P) return depthwise_tile_of<P - 1, Step, Masked>(positions, t);
  depthwise_tile<P, Step, Masked>(t);
}

// Few positions share too little. With AVX-512 what sharing gives was not measured.
void run_depthwise_tile(int64_t positions, const DepthwiseTile& t) {
  if (t.lanes < kVectorLanes) return depthwise_tile_of<kDepthwisePositions, kAnyStep, true>(positions, t);
  if constexpr (!kWide)
    if (positions > kDepthwisePositions / 2 && t.columns == 3) {
      if (t.x_step == t.kw_step) return depthwise_tile_of<kDepthwisePositions, 1, false>(positions, t);
      if (t.x_step == 2 * t.kw_step) return depthwise_tile_of<kDepthwisePositions, 2, false>(positions, t);
    }
  depthwise_tile_of<kDepthwisePositions, kAnyStep, false>(positions, t);
}

// A depthwise convolution, from whose windows what lies outside the image is left out.
class Depthwise {
 public:
  Depthwise(const ConvGeometry& g, const ConvForward& a) : g_(g), a_(a) {
    t_.kh_step = g.dilation_h * g.in_w * g.in, t_.kw_step = g.dilation_w * g.in;
    t_.weight_row = g.kernel_w * g.out, t_.weight_step = g.out;
    t_.ending = a.ending, t_.image = a.y;
  }

  // Columns [first, end), whose windows have all taps of a row.
  void inner_columns(int64_t first, int64_t end) {
    if (first >= end) return;
    const int64_t blocks = divide_up(end - first, kDepthwisePositions), chunks = divide_up(g_.out, kChunk);
    const int64_t rows = a_.row_end - a_.row_begin, row_floats = g_.stride_h * g_.in_w * g_.in;
    Prefetch prefetch(a_.x, a_.row_end * row_floats, a_.goes_on ? rows * row_floats : 0, rows * blocks * chunks);
    t_.x_step = g_.stride_w * g_.in, t_.y_step = g_.pixel_pitch;
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t column = first + (end - first) * block / blocks;
      const int64_t positions = first + (end - first) * (block + 1) / blocks - column;
      for (int64_t chunk = 0; chunk < g_.out; chunk += kChunk)
        for (int64_t row = a_.row_begin; row < a_.row_end; ++row) {
          prefetch.steps(1);
          run(row, taps_inside(g_, row, row), column, {0, g_.kernel_w}, positions, chunk, chunk + kChunk);
        }
    }
  }

  // A column whose windows leave the image, several rows at a time where they have the same taps.
  void outer_column(int64_t column) {
    const Taps across = taps_across(g_, column);
    t_.x_step = g_.stride_h * g_.in_w * g_.in, t_.y_step = g_.row_pitch;
    for (int64_t row = a_.row_begin, next; row < a_.row_end; row = next) {
      const Taps down = taps_inside(g_, row, row);
      for (next = row + 1; next < least(a_.row_end, row + kDepthwisePositions); ++next) {
        const Taps taps = taps_inside(g_, next, next);
        if (taps.begin != down.begin || taps.end != down.end) break;
      }
      run(row, down, column, across, next - row, 0, g_.out);
    }
  }

 private:
  static constexpr int64_t kChunk = 128;  // channels: three rows under a tile stay in the first cache

  [[gnu::noinline]] void run(int64_t row, Taps down, int64_t column, Taps across, int64_t positions, int64_t first,
                             int64_t end) {
    t_.rows = down.end - down.begin, t_.columns = across.end - across.begin;
    const int64_t input_row = row * g_.stride_h - g_.padding_h + down.begin * g_.dilation_h;
    const int64_t input_column = column * g_.stride_w - g_.padding_w + across.begin * g_.dilation_w;
    const int64_t x = (input_row * g_.in_w + input_column) * g_.in, y = row * g_.row_pitch + column * g_.pixel_pitch;
    const int64_t weight = down.begin * t_.weight_row + across.begin * t_.weight_step;
    for (int64_t channel = first; channel < least(g_.out, end); channel += kVectorLanes) {
      t_.lanes = least(kVectorLanes, g_.out - channel);
      t_.x = a_.x + (x + channel), t_.y = a_.y + (y + channel);
      t_.weight = a_.weight.data + (weight + channel);
      t_.bias = a_.bias ? a_.bias + channel : nullptr;
      run_depthwise_tile(positions, t_);
    }
  }

  const ConvGeometry& g_;
  const ConvForward& a_;
  DepthwiseTile t_{};
};

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  const int64_t left = least(g.out_w, divide_up(most(g.padding_w, 0), g.stride_w));
  const int64_t last = g.in_w - 1 - (g.kernel_w - 1) * g.dilation_w + g.padding_w;  // where a window still fits
  const int64_t right = last < 0 ? left : most(left, least(g.out_w, last / g.stride_w + 1));
  Depthwise depthwise(g, a);
  for (int64_t column = 0; column < left; ++column) depthwise.outer_column(column);
  depthwise.inner_columns(left, right);
  for (int64_t column = right; column < g.out_w; ++column) depthwise.outer_column(column);
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
