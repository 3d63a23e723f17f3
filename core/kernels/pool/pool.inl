// Pooling loops, written once and compiled per instruction set.
#include "core/kernels/pool/pool.h"

namespace qgrad {
namespace pool_loops {
namespace {

// Positions of a window along one dimension: those inside the image, and how many an average counts.
struct Span {
  int64_t begin, end, counted;
};
inline Span span_of(int64_t start, int64_t kernel, int64_t dilation, int64_t size) {
  const int64_t begin = start < 0 ? start + (dilation - 1 - start) / dilation * dilation : start;
  const int64_t last = start + (kernel - 1) * dilation + 1, end = last < size ? last : size;
  return {begin, end, 0};
}
inline Span rows_of(const PoolGeometry& g, int64_t oy) {
  Span span = span_of(oy * g.stride_h - g.padding_h, g.kernel_h, g.dilation_h, g.height);
  span.counted = g.count_padding ? g.kernel_h - (oy + 1 == g.out_height ? g.excess_h : 0) : span.end - span.begin;
  return span;
}
inline Span columns_of(const PoolGeometry& g, int64_t ox) {
  Span span = span_of(ox * g.stride_w - g.padding_w, g.kernel_w, g.dilation_w, g.width);
  span.counted = g.count_padding ? g.kernel_w - (ox + 1 == g.out_width ? g.excess_w : 0) : span.end - span.begin;
  return span;
}

// Calls at(input offset, output offset, counted) for every output position and every real input position of its window,
// windows in row order and positions in row order within them; `begin` is called before each window and `end` after it.
template <class Begin, class At, class End>
inline void for_each_window(const PoolGeometry& g, Begin begin, At at, End end) {
  for (int64_t oy = 0; oy < g.out_height; ++oy) {
    const Span rows = rows_of(g, oy);
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      const Span columns = columns_of(g, ox);
      const int64_t out = (oy * g.out_width + ox) * g.channels, counted = rows.counted * columns.counted;
      begin(out);
      for (int64_t iy = rows.begin; iy < rows.end; iy += g.dilation_h)
        for (int64_t ix = columns.begin; ix < columns.end; ix += g.dilation_w)
          at((iy * g.width + ix) * g.channels, out, counted);
      end(out, counted);
    }
  }
}

void max_forward(const float* x, float* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for_each_window(
      g,
      [&](int64_t out) {
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] = -__builtin_inff();
      },
      [&](int64_t in, int64_t out, int64_t) {
        const float* __restrict from = x + in;
        float* __restrict to = y + out;
        for (int64_t c = 0; c < g.channels; ++c) to[c] = ((from[c] > to[c]) | (from[c] != from[c])) ? from[c] : to[c];
      },
      [](int64_t, int64_t) {});
}

void max_backward(const float* x, const float* y, const float* dy, float* dx, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  constexpr int64_t kBlock = 64;  // channels at a time, so that the gradients still to be given away fit in a buffer
  float left[kBlock];
  for (int64_t c0 = 0; c0 < g.channels; c0 += kBlock) {
    const int64_t count = g.channels - c0 < kBlock ? g.channels - c0 : kBlock;
    for_each_window(
        g,
        [&](int64_t out) {
          for (int64_t c = 0; c < count; ++c) left[c] = dy[out + c0 + c];
        },
        [&](int64_t in, int64_t out, int64_t) {
          const float* __restrict from = x + in + c0;
          const float* __restrict largest = y + out + c0;
          float* __restrict to = dx + in + c0;
          for (int64_t c = 0; c < count; ++c) {
            const bool here = from[c] == largest[c];
            to[c] += here ? left[c] : 0.0f;
            left[c] = here ? 0.0f : left[c];
          }
        },
        [](int64_t, int64_t) {});
  }
}

void average_forward(const float* x, float* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for_each_window(
      g,
      [&](int64_t out) {
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] = 0.0f;
      },
      [&](int64_t in, int64_t out, int64_t) {
        const float* __restrict from = x + in;
        float* __restrict to = y + out;
        for (int64_t c = 0; c < g.channels; ++c) to[c] += from[c];
      },
      [&](int64_t out, int64_t counted) {
        const float size = static_cast<float>(counted);
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] /= size;
      });
}

void average_backward(const float* dy, float* dx, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for_each_window(
      g, [](int64_t) {},
      [&](int64_t in, int64_t out, int64_t counted) {
        const float size = static_cast<float>(counted);
        const float* __restrict from = dy + out;
        float* __restrict to = dx + in;
        for (int64_t c = 0; c < g.channels; ++c) to[c] += from[c] / size;
      },
      [](int64_t, int64_t) {});
}

}  // namespace
}  // namespace pool_loops

PoolKernels QGRAD_ROW(pool)() {
  using namespace pool_loops;
  return {max_forward, average_forward};
}

PoolGradientKernels QGRAD_ROW(pool_gradient)() {
  using namespace pool_loops;
  return {max_backward, average_backward};
}

}  // namespace qgrad
