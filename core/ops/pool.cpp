// Pooling over NHWC images.
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/ops/linear_map.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Numbers of an image, those of overlapping windows again for each: ten seconds. A pooling over more is no network's.
constexpr double kMostWork = 0x1p35;

// One dimension of a window: where it goes over an image.
struct PoolDimension {
  int64_t size, kernel, stride, padding, padding_end = 0, dilation = 1;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }
  int64_t positions(bool ceil) const {
    const int64_t room = size + padding + padding_end - extent();
    const int64_t down = room < 0 ? -((stride - 1 - room) / stride) : room / stride;
    const bool one_more = ceil && down * stride < room && (down + 1) * stride - padding < size;
    return down + 1 + (one_more ? 1 : 0);
  }
  // How far the last of so many windows reaches beyond the padding.
  int64_t excess(int64_t positions) const {
    return std::max<int64_t>(0, (positions - 1) * stride + extent() - size - padding - padding_end);
  }
  // A window starts and ends where it covers the image. With a dilation it can still jump over it, from the padding.
  bool covers_image() const { return padding >= 0 && padding < extent() && padding_end >= 0 && padding_end < extent(); }
  // At most so many pixels are looked at.
  double work(int64_t positions) const {
    return static_cast<double>(positions) * static_cast<double>(std::min(kernel, size));
  }
  bool has_pixels(int64_t positions) const {
    for (int64_t i = 0; i < std::min(positions, dilation); ++i)  // the same positions of windows come again
      if (const int64_t start = i * stride - padding; start < 0 && (start % dilation + dilation) % dilation >= size)
        return false;
    return true;
  }
};

PoolGeometry geometry_of(const char* op, const Shape& x, const Pool2dOptions& o) {
  check(x.rank() == 4, "{}: expected images [N,H,W,C], got {}", op, x);
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const PoolDimension h{x[1], o.kernel_h, o.stride_h, o.padding_h, o.padding_end_h.value_or(o.padding_h), o.dilation_h},
      w{x[2], o.kernel_w, o.stride_w, o.padding_w, o.padding_end_w.value_or(o.padding_w), o.dilation_w};
  check(h.kernel > 0 && w.kernel > 0 && h.stride > 0 && w.stride > 0,
        "{}: kernel {}x{} and stride {}x{} must be 1 or more", op, h.kernel, w.kernel, h.stride, w.stride);
  check(h.kernel <= kMost && w.kernel <= kMost && h.stride <= kMost && w.stride <= kMost,
        "{}: kernel {}x{} and stride {}x{} are at most {}", op, h.kernel, w.kernel, h.stride, w.stride, kMost);
  constexpr int64_t kMostDilation = 1 << 20;
  check(h.dilation > 0 && w.dilation > 0 && h.dilation <= kMostDilation && w.dilation <= kMostDilation,
        "{}: expected dilations from 1 to {}, got {}x{}", op, kMostDilation, h.dilation, w.dilation);
  check(h.covers_image() && w.covers_image(),
        "{}: padding {}x{} and padding_end {}x{} must be 0 or more, and less than the window of {}x{}", op, h.padding,
        w.padding, h.padding_end, w.padding_end, h.extent(), w.extent());
  const int64_t out_h = h.positions(o.ceil), out_w = w.positions(o.ceil);
  check(out_h > 0 && out_w > 0, "{}: kernel {}x{} is larger than the images of {}", op, h.kernel, w.kernel, x);
  check(h.work(out_h) * w.work(out_w) * static_cast<double>(x[3]) <= kMostWork,
        "{}: a kernel {}x{}, strides {}x{} and paddings {}x{} of images {} look at more than 2^35 numbers of one", op,
        h.kernel, w.kernel, h.stride, w.stride, h.padding, w.padding, x);
  check(h.has_pixels(out_h) && w.has_pixels(out_w),
        "{}: a kernel {}x{} with dilation {}x{} jumps over the images of {}", op, h.kernel, w.kernel, h.dilation,
        w.dilation, x);
  return {.height = h.size,
          .width = w.size,
          .channels = x[3],
          .out_height = out_h,
          .out_width = out_w,
          .kernel_h = h.kernel,
          .kernel_w = w.kernel,
          .stride_h = h.stride,
          .stride_w = w.stride,
          .padding_h = h.padding,
          .padding_w = w.padding,
          .dilation_h = h.dilation,
          .dilation_w = w.dilation,
          .count_padding = o.count_padding,
          .excess_h = h.excess(out_h),
          .excess_w = w.excess(out_w)};
}

// Calls fn(input offset, output offset) for every image.
template <class F>
void for_each_image(int64_t images, const PoolGeometry& g, F&& fn) {
  const int64_t in = g.height * g.width * g.channels, out = g.out_height * g.out_width * g.channels;
  parallel_for(images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(i * in, i * out);
  });
}

// Means along one dimension, of which `positions` windows have so many numbers; the last one reaches `excess` beyond
// the padding.
LinearMap means_of(const PoolDimension& d, int64_t positions, bool count_padding, int64_t excess) {
  LinearMap map(d.size);
  for (int64_t i = 0; i < positions; ++i) {
    const int64_t start = i * d.stride - d.padding;
    const int64_t begin = std::max<int64_t>(start, 0), end = std::min(start + d.kernel, d.size);
    const int64_t counted = count_padding ? d.kernel - (i + 1 == positions ? excess : 0) : end - begin;
    for (int64_t at = begin; at < end; ++at) map.add(at, 1 / static_cast<float>(counted));
    map.end_row();
  }
  return map;
}

// One window over height and width.
Pool2dOptions whole(const char* op, const Tensor& x) {
  check(x.rank() == 4 && x.dim(1) * x.dim(2) > 0, "{}: expected images [N,H,W,C], got {}", op, x.shape());
  return {x.dim(1), x.dim(2), 1, 1, 0, 0};
}

}  // namespace

// y = max over the window; dx gets dy at the window's first maximum.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const PoolGeometry g = geometry_of("max_pool2d", x.shape(), options);
  Tensor y = Tensor::empty({x.dim(0), g.out_height, g.out_width, g.channels});
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) { kernels().pool.max_forward(from + in, to + out, g); });
  return record("max_pool2d", y, {x}, [x, y, g](const Tensor& dy, Grads& dx) {
    Tensor gradient = Tensor::zeros(x.shape());
    const float *px = x.data().data(), *py = y.data().data(), *pdy = dy.data().data();
    float* pdx = gradient.mutable_data().data();
    for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) {
      kernels().pool_gradient.max_backward(px + in, py + out, pdy + out, pdx + in, g);
    });
    dx.add(0, gradient);
  });
}

// y = sum over the window / count; dx = the sum of dy / count over windows around x. count: the positions of a window
// that count, kernel_h kernel_w of them where it lies within the padding.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  check(options.dilation_h == 1 && options.dilation_w == 1, "avg_pool2d: expected no dilation, got {}x{}",
        options.dilation_h, options.dilation_w);
  const PoolGeometry g = geometry_of("avg_pool2d", x.shape(), options);
  Tensor y = Tensor::empty({x.dim(0), g.out_height, g.out_width, g.channels});
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) { kernels().pool.average_forward(from + in, to + out, g); });
  return record("avg_pool2d", y, {x}, [shape = x.shape(), g](const Tensor& dy, Grads& dx) {
    Tensor gradient = Tensor::zeros(shape);
    const float* pdy = dy.data().data();
    float* pdx = gradient.mutable_data().data();
    for_each_image(shape[0], g,
                   [&](int64_t in, int64_t out) { kernels().pool_gradient.average_backward(pdy + out, pdx + in, g); });
    dx.add(0, gradient);
  });
}

AxisMaps avg_pool2d_maps(const Shape& images, const Pool2dOptions& options) {
  const PoolGeometry g = geometry_of("avg_pool2d", images, options);
  const PoolDimension h{.size = g.height, .kernel = g.kernel_h, .stride = g.stride_h, .padding = g.padding_h},
      w{.size = g.width, .kernel = g.kernel_w, .stride = g.stride_w, .padding = g.padding_w};
  return {means_of(h, g.out_height, g.count_padding, g.excess_h),
          means_of(w, g.out_width, g.count_padding, g.excess_w)};
}

Pool2dOptions simplified(const Pool2dOptions& options, const Shape& images) {
  const PoolGeometry g = geometry_of("pool", images, options);
  const bool reaches_beyond = g.excess_h > 0 || g.excess_w > 0;
  if (reaches_beyond && options.count_padding) return options;
  Pool2dOptions simple = options;
  const int64_t end_h = options.padding_end_h.value_or(g.padding_h) + g.excess_h;
  const int64_t end_w = options.padding_end_w.value_or(g.padding_w) + g.excess_w;
  simple.ceil = false;
  if (reaches_beyond) simple.padding_end_h = end_h, simple.padding_end_w = end_w;
  simple.count_padding |= g.padding_h == 0 && g.padding_w == 0 && end_h == 0 && end_w == 0;
  return simple;
}

Tensor global_avg_pool2d(const Tensor& x) { return avg_pool2d(x, whole("global_avg_pool2d", x)); }
Tensor global_max_pool2d(const Tensor& x) { return max_pool2d(x, whole("global_max_pool2d", x)); }

}  // namespace qgrad
