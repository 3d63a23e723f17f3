// Pooling loops, written once and compiled per instruction set.
#include "core/kernels/pool/pool.h"

namespace qgrad {
namespace pool_loops {
namespace {

// Calls at(input offset, output offset) for every output position and every real input position of its window, windows
// in row order and positions in row order within them; `begin` is called before each window and `end` after it.
template <class Begin, class At, class End>
inline void for_each_window(const PoolGeometry& g, Begin begin, At at, End end) {
  for (int64_t oy = 0; oy < g.out_height; ++oy)
    for (int64_t ox = 0; ox < g.out_width; ++ox) {
      const int64_t top = oy * g.stride_h - g.padding_h, left = ox * g.stride_w - g.padding_w;
      const int64_t y0 = top < 0 ? 0 : top, x0 = left < 0 ? 0 : left;
      const int64_t y1 = top + g.kernel_h < g.height ? top + g.kernel_h : g.height;
      const int64_t x1 = left + g.kernel_w < g.width ? left + g.kernel_w : g.width;
      const int64_t out = (oy * g.out_width + ox) * g.channels;
      begin(out);
      for (int64_t iy = y0; iy < y1; ++iy)
        for (int64_t ix = x0; ix < x1; ++ix) at((iy * g.width + ix) * g.channels, out);
      end(out);
    }
}

void max_forward(const float* x, float* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  for_each_window(
      g,
      [&](int64_t out) {
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] = -__builtin_inff();
      },
      [&](int64_t in, int64_t out) {
        const float* __restrict from = x + in;
        float* __restrict to = y + out;
        for (int64_t c = 0; c < g.channels; ++c) to[c] = ((from[c] > to[c]) | (from[c] != from[c])) ? from[c] : to[c];
      },
      [](int64_t) {});
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
        [&](int64_t in, int64_t out) {
          const float* __restrict from = x + in + c0;
          const float* __restrict largest = y + out + c0;
          float* __restrict to = dx + in + c0;
          for (int64_t c = 0; c < count; ++c) {
            const bool here = from[c] == largest[c];
            to[c] += here ? left[c] : 0.0f;
            left[c] = here ? 0.0f : left[c];
          }
        },
        [](int64_t) {});
  }
}

void average_forward(const float* x, float* y, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  const float size = static_cast<float>(g.kernel_h * g.kernel_w);
  for_each_window(
      g,
      [&](int64_t out) {
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] = 0.0f;
      },
      [&](int64_t in, int64_t out) {
        const float* __restrict from = x + in;
        float* __restrict to = y + out;
        for (int64_t c = 0; c < g.channels; ++c) to[c] += from[c];
      },
      [&](int64_t out) {
        for (int64_t c = 0; c < g.channels; ++c) y[out + c] /= size;
      });
}

void average_backward(const float* dy, float* dx, const PoolGeometry& geometry) {
  const PoolGeometry g = geometry;
  const float size = static_cast<float>(g.kernel_h * g.kernel_w);
  for_each_window(
      g, [](int64_t) {},
      [&](int64_t in, int64_t out) {
        const float* __restrict from = dy + out;
        float* __restrict to = dx + in;
        for (int64_t c = 0; c < g.channels; ++c) to[c] += from[c] / size;
      },
      [](int64_t) {});
}

}  // namespace
}  // namespace pool_loops

PoolKernels QGRAD_ROW(pool)() {
  using namespace pool_loops;
  return {max_forward, max_backward, average_forward, average_backward};
}

}  // namespace qgrad
