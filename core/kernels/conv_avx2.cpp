// Convolution kernels for AVX2: direct, on register tiles of 6 positions x 16 output channels (forward) and 6 weights x 16
// output channels (weight gradient). Where a window reaches over the border, the rows under a band are copied once into
// zero-padded scratch, so that the inner loops know no border; taps over whole rows of padding are skipped.
#include <immintrin.h>
#include <string.h>

#include "core/kernels/conv_kernels.h"
#include "core/kernels/tiles_avx2.h"

namespace qgrad {
namespace {

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The input under a band of output rows, zero-padded where needed.
struct Band {
  const float* data;  // input position of output (row_begin, 0) and tap (0, 0)
  int64_t image_pitch, row_pitch;
};

struct Rows {
  int64_t images, begin, end;
};

void copy_padded(const ConvGeometry& g, const float* x, int64_t first_row, int64_t rows, int64_t first_column,
                 int64_t columns, float* to) {
  const int64_t left = least(columns, most(0, -first_column));
  const int64_t inside = most(0, least(columns - left, g.in_w - (first_column + left)));
  const int64_t right = columns - left - inside;
  const auto bytes = [&](int64_t count) { return static_cast<size_t>(count * g.in) * sizeof(float); };
  for (int64_t row = first_row; row < first_row + rows; ++row, to += columns * g.in) {
    if (row < 0 || row >= g.in_h) {
      memset(to, 0, bytes(columns));
      continue;
    }
    memset(to, 0, bytes(left));
    if (inside > 0) memcpy(to + left * g.in, x + (row * g.in_w + first_column + left) * g.in, bytes(inside));
    memset(to + (left + inside) * g.in, 0, bytes(right));
  }
}

Band make_band(const ConvGeometry& g, const float* x, const Rows& r, float* scratch) {
  const int64_t first_row = r.begin * g.stride_h - g.padding_h, first_column = -g.padding_w;
  const int64_t rows = (r.end - r.begin - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
  const int64_t columns = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
  const int64_t image = g.in_h * g.in_w * g.in;
  if (first_row >= 0 && first_row + rows <= g.in_h && first_column >= 0 && first_column + columns <= g.in_w)
    return {x + (first_row * g.in_w + first_column) * g.in, image, g.in_w * g.in};
  for (int64_t i = 0; i < r.images; ++i)
    copy_padded(g, x + i * image, first_row, rows, first_column, columns, scratch + i * rows * columns * g.in);
  return {scratch, rows * columns * g.in, columns * g.in};
}

// Taps kh for which some row in [first, last] reads inside the image: [begin, end).
struct Taps {
  int64_t begin, end;
};

Taps taps_inside(const ConvGeometry& g, int64_t first, int64_t last) {
  Taps t{0, g.kernel_h};
  while (t.begin < t.end && last * g.stride_h - g.padding_h + t.begin * g.dilation_h < 0) ++t.begin;
  while (t.end > t.begin && first * g.stride_h - g.padding_h + (t.end - 1) * g.dilation_h >= g.in_h) --t.end;
  return t;
}

// Consecutive floats of the input that one row of taps multiplies: all taps of the row where they touch.
struct Runs {
  int64_t count, step, length;
};

Runs tap_runs(const ConvGeometry& g) {
  const int64_t in_group = g.in / g.groups;
  if (g.groups == 1 && g.dilation_w == 1) return {1, 0, g.kernel_w * in_group};
  return {g.kernel_w, g.dilation_w * g.in, in_group};
}

// One panel of output channels over a whole band.
void forward_panel(const ConvGeometry& g, const ConvForward& a, const Band& band, PositionTile& t, int64_t channel_x,
                   int64_t channel_y) {
  const float* weight = t.weight;
  const int64_t tap_row = g.kernel_w * (g.in / g.groups) * kPanel;
  const int64_t count = (a.row_end - a.row_begin) * g.out_w, blocks = divide_up(count, kTile);
  const int64_t small = count / blocks, larger = count % blocks;  // nearly equal blocks keep the pipelines full
  int64_t row = a.row_begin, column = 0;
  for (int64_t block = 0; block < blocks; ++block) {
    const int64_t positions = small + (block < larger), first_row = row;
    int64_t last_row = row;
    for (int64_t p = 0; p < positions; ++p) {
      last_row = row;
      t.x[p] = band.data + (row - a.row_begin) * g.stride_h * band.row_pitch + column * g.stride_w * g.in + channel_x;
      t.y[p] = a.y + row * g.row_pitch + column * g.pixel_pitch + channel_y;
      if (++column == g.out_w) column = 0, ++row;
    }
    const Taps taps = taps_inside(g, first_row, last_row);
    for (int64_t p = 0; p < positions; ++p) t.x[p] += taps.begin * t.outer_step;
    t.outer = taps.end - taps.begin;
    t.weight = weight + taps.begin * tap_row;
    position_tiles[positions - 1][t.lanes > 8](t);
  }
}

void forward(const ConvGeometry& g, const ConvForward& a) {
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, {1, a.row_begin, a.row_end}, a.scratch);
  const Runs runs = tap_runs(g);
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  const int64_t panels = divide_up(out_group, kPanel), panel_floats = g.kernel_h * g.kernel_w * in_group * kPanel;
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t channel = group * out_group + panel * kPanel;
      PositionTile t{};
      t.weight = a.weight + (group * panels + panel) * panel_floats;
      t.bias = a.bias ? a.bias + channel : nullptr;
      t.lanes = least(kPanel, out_group - panel * kPanel);
      t.outer_step = g.dilation_h * band.row_pitch;
      t.inner = runs.count, t.inner_step = runs.step, t.run = runs.length;
      forward_panel(g, a, band, t, group * in_group, channel);
    }
}

// Rows of [begin, end) whose tap kh reads inside the image.
Rows rows_inside(const ConvGeometry& g, int64_t kh, int64_t begin, int64_t end) {
  while (begin < end && begin * g.stride_h - g.padding_h + kh * g.dilation_h < 0) ++begin;
  while (end > begin && (end - 1) * g.stride_h - g.padding_h + kh * g.dilation_h >= g.in_h) --end;
  return {0, begin, end};
}

void weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  if (a.images == 0 || a.row_begin >= a.row_end || g.out_w == 0) return;
  const Band band = make_band(g, a.x, {a.images, a.row_begin, a.row_end}, a.scratch);
  const Runs runs = tap_runs(g);
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups, dy_row = g.out_w * g.out;
  const int64_t blocks = divide_up(runs.length, kTile), small = runs.length / blocks, larger = runs.length % blocks;
  OuterTile t{};
  t.c_pitch = g.out;
  t.images = a.images, t.x_image = band.image_pitch, t.b_image = g.out_h * dy_row;
  t.x_row = g.stride_h * band.row_pitch, t.b_row = dy_row;
  t.positions = g.out_w, t.x_step = g.stride_w * g.in, t.b_step = g.out;
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t first = 0; first < out_group; first += kPanel) {
      const int64_t channel = group * out_group + first;
      t.lanes = least(kPanel, out_group - first);
      for (int64_t run = 0; run < runs.count; ++run)
        for (int64_t block = 0, k = 0; block < blocks; ++block) {
          const int64_t length = small + (block < larger);
          // The taps of one column share most of their input: they go together while it is in the cache.
          for (int64_t kh = 0; kh < g.kernel_h; ++kh) {
            const Rows rows = rows_inside(g, kh, a.row_begin, a.row_end);
            t.rows = rows.end - rows.begin;
            t.x = band.data + (rows.begin - a.row_begin) * t.x_row + kh * g.dilation_h * band.row_pitch +
                  run * runs.step + group * in_group + k;
            t.b = a.dy + rows.begin * dy_row + channel;
            t.c = a.dw + ((kh * g.kernel_w + run) * in_group + k) * g.out + channel;
            run_outer_tile(length, t);
          }
          k += length;
        }
    }
}

// The taps of one dimension that read inside the image from an output position: [begin, end).
Taps depthwise_taps(int64_t position, int64_t stride, int64_t padding, int64_t dilation, int64_t kernel, int64_t size) {
  Taps t{0, kernel};
  while (t.begin < t.end && position * stride - padding + t.begin * dilation < 0) ++t.begin;
  while (t.end > t.begin && position * stride - padding + (t.end - 1) * dilation >= size) --t.end;
  return t;
}

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  for (int64_t row = a.row_begin; row < a.row_end; ++row) {
    const Taps h = depthwise_taps(row, g.stride_h, g.padding_h, g.dilation_h, g.kernel_h, g.in_h);
    for (int64_t column = 0; column < g.out_w; ++column) {
      const Taps w = depthwise_taps(column, g.stride_w, g.padding_w, g.dilation_w, g.kernel_w, g.in_w);
      const float* x = a.x + ((row * g.stride_h - g.padding_h) * g.in_w + column * g.stride_w - g.padding_w) * g.in;
      float* y = a.y + row * g.row_pitch + column * g.pixel_pitch;
      for (int64_t c = 0; c < g.out; c += 16) {
        const int64_t lanes = least(16, g.out - c);
        const __m256i low = lane_mask(lanes, 0), high = lane_mask(lanes, 8);
        __m256 sum0 = a.bias ? _mm256_maskload_ps(a.bias + c, low) : _mm256_setzero_ps();
        __m256 sum1 = a.bias ? _mm256_maskload_ps(a.bias + c + 8, high) : _mm256_setzero_ps();
        for (int64_t kh = h.begin; kh < h.end; ++kh)
          for (int64_t kw = w.begin; kw < w.end; ++kw) {
            const float* from = x + (kh * g.dilation_h * g.in_w + kw * g.dilation_w) * g.in + c;
            const float* weight = a.weight + (kh * g.kernel_w + kw) * g.out + c;
            sum0 = _mm256_fmadd_ps(_mm256_maskload_ps(from, low), _mm256_maskload_ps(weight, low), sum0);
            sum1 = _mm256_fmadd_ps(_mm256_maskload_ps(from + 8, high), _mm256_maskload_ps(weight + 8, high), sum1);
          }
        _mm256_maskstore_ps(y + c, low, sum0);
        _mm256_maskstore_ps(y + c + 8, high, sum1);
      }
    }
  }
}

void depthwise_weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  for (int64_t image = 0; image < a.images; ++image)
    for (int64_t row = a.row_begin; row < a.row_end; ++row) {
      const Taps h = depthwise_taps(row, g.stride_h, g.padding_h, g.dilation_h, g.kernel_h, g.in_h);
      for (int64_t kh = h.begin; kh < h.end; ++kh)
        for (int64_t kw = 0; kw < g.kernel_w; ++kw) {
          const float* x = a.x + (image * g.in_h + row * g.stride_h - g.padding_h + kh * g.dilation_h) * g.in_w * g.in;
          const float* dy = a.dy + (image * g.out_h + row) * g.out_w * g.out;
          const int64_t first = kw * g.dilation_w - g.padding_w;
          int64_t begin = 0, end = g.out_w;
          while (begin < end && begin * g.stride_w + first < 0) ++begin;
          while (end > begin && (end - 1) * g.stride_w + first >= g.in_w) --end;
          for (int64_t c = 0; c < g.out; c += 8) {
            const __m256i mask = lane_mask(least(8, g.out - c), 0);
            float* dw = a.dw + (kh * g.kernel_w + kw) * g.out + c;
            __m256 sum = _mm256_maskload_ps(dw, mask);
            for (int64_t column = begin; column < end; ++column)
              sum = _mm256_fmadd_ps(_mm256_maskload_ps(x + (column * g.stride_w + first) * g.in + c, mask),
                                    _mm256_maskload_ps(dy + column * g.out + c, mask), sum);
            _mm256_maskstore_ps(dw, mask, sum);
          }
        }
    }
}

}  // namespace

ConvKernels conv_avx2() { return {forward, weight_gradient, depthwise_forward, depthwise_weight_gradient}; }

}  // namespace qgrad
