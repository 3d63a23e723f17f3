// The input under a band of output rows, and which taps and rows of it lie inside the image. Included by conv_tiled.inl
// only.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "core/kernels/conv/conv.h"
#include "core/kernels/tiles.h"

namespace qgrad {
namespace conv_tiles {
namespace {

// The input under a band of output rows, zero-padded where needed.
struct Band {
  const float* data;  // input position of output (row_begin, 0) and tap (0, 0)
  int64_t image_pitch, row_pitch;
};

// Output rows of an image.
struct Rows {
  int64_t begin, end;
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

Band make_band(const ConvGeometry& g, const float* x, int64_t images, Rows r, float* scratch) {
  const int64_t first_row = r.begin * g.stride_h - g.padding_h, first_column = -g.padding_w;
  const int64_t rows = (r.end - r.begin - 1) * g.stride_h + (g.kernel_h - 1) * g.dilation_h + 1;
  const int64_t columns = (g.out_w - 1) * g.stride_w + (g.kernel_w - 1) * g.dilation_w + 1;
  const int64_t image = g.in_h * g.in_w * g.in;
  if (first_row >= 0 && first_row + rows <= g.in_h && first_column >= 0 && first_column + columns <= g.in_w)
    return {x + (first_row * g.in_w + first_column) * g.in, image, g.in_w * g.in};
  for (int64_t i = 0; i < images; ++i)
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

// Taps kw with which a column reads inside the image.
Taps taps_across(const ConvGeometry& g, int64_t column) {
  const int64_t first = column * g.stride_w - g.padding_w;
  Taps t{0, g.kernel_w};
  while (t.begin < t.end && first + t.begin * g.dilation_w < 0) ++t.begin;
  while (t.end > t.begin && first + (t.end - 1) * g.dilation_w >= g.in_w) --t.end;
  return t;
}

// Rows of [begin, end) whose tap kh reads inside the image.
Rows rows_inside(const ConvGeometry& g, int64_t kh, int64_t begin, int64_t end) {
  while (begin < end && begin * g.stride_h - g.padding_h + kh * g.dilation_h < 0) ++begin;
  while (end > begin && (end - 1) * g.stride_h - g.padding_h + kh * g.dilation_h >= g.in_h) --end;
  return {begin, end};
}

// Asks for memory that will be needed soon, a few cache lines at a time between pieces of work, so that large batches
// are not slowed by the wait for it. The range may pass the end of the array: a prefetch never faults, hence integers
// here.
class Prefetch {
 public:
  // `floats` from `array` + `begin` on, to be spread over `steps` steps.
  Prefetch(const float* array, int64_t begin, int64_t floats, int64_t steps)
      : next_(reinterpret_cast<uintptr_t>(array) + static_cast<uintptr_t>(begin) * sizeof(float)),
        lines_per_step_(divide_up(floats * static_cast<int64_t>(sizeof(float)), kLine * most(steps, 1))) {}
  void steps(int64_t count) {
    for (int64_t i = 0; i < count * lines_per_step_; ++i, next_ += kLine)
      _mm_prefetch(reinterpret_cast<const char*>(next_), _MM_HINT_T1);
  }

 private:
  static constexpr int64_t kLine = 64;  // bytes
  uintptr_t next_;
  int64_t lines_per_step_;
};

}  // namespace
}  // namespace conv_tiles
}  // namespace qgrad
