// Pooling over NHWC images.
#include <limits>

#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

PoolGeometry geometry_of(const char* op, const Tensor& x, const Pool2dOptions& o) {
  check(x.rank() == 4, "{}: expected images [N,H,W,C], got {}", op, x.shape());
  check(o.kernel_h > 0 && o.kernel_w > 0 && o.stride_h > 0 && o.stride_w > 0,
        "{}: kernel {}x{} and stride {}x{} must be 1 or more", op, o.kernel_h, o.kernel_w, o.stride_h, o.stride_w);
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  check(o.kernel_h <= kMost && o.kernel_w <= kMost && o.stride_h <= kMost && o.stride_w <= kMost,
        "{}: kernel {}x{} and stride {}x{} are at most {}", op, o.kernel_h, o.kernel_w, o.stride_h, o.stride_w, kMost);
  // A larger padding would make windows that lie outside of the image.
  check(o.padding_h >= 0 && o.padding_w >= 0 && o.padding_h <= o.kernel_h / 2 && o.padding_w <= o.kernel_w / 2,
        "{}: padding {}x{} must be between 0 and half of the kernel {}x{}", op, o.padding_h, o.padding_w, o.kernel_h,
        o.kernel_w);
  check(x.dim(1) + 2 * o.padding_h >= o.kernel_h && x.dim(2) + 2 * o.padding_w >= o.kernel_w,
        "{}: kernel {}x{} is larger than the images of {}", op, o.kernel_h, o.kernel_w, x.shape());
  return {.height = x.dim(1),
          .width = x.dim(2),
          .channels = x.dim(3),
          .out_height = (x.dim(1) + 2 * o.padding_h - o.kernel_h) / o.stride_h + 1,
          .out_width = (x.dim(2) + 2 * o.padding_w - o.kernel_w) / o.stride_w + 1,
          .kernel_h = o.kernel_h,
          .kernel_w = o.kernel_w,
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .padding_h = o.padding_h,
          .padding_w = o.padding_w};
}

// Calls fn(input offset, output offset) for every image.
template <class F>
void for_each_image(int64_t images, const PoolGeometry& g, F&& fn) {
  const int64_t in = g.height * g.width * g.channels, out = g.out_height * g.out_width * g.channels;
  parallel_for(images, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(i * in, i * out);
  });
}

}  // namespace

// y = max over the window; dx gets dy at the window's first maximum.
Tensor max_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const PoolGeometry g = geometry_of("max_pool2d", x, options);
  Tensor y = Tensor::empty({x.dim(0), g.out_height, g.out_width, g.channels});
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) { kernels().pool.max_forward(from + in, to + out, g); });
  return record("max_pool2d", y, {x}, [x, y, g](Tensor dy, Grads& dx) {
    Tensor gradient = Tensor::zeros(x.shape());
    const float *px = x.data().data(), *py = y.data().data(), *pdy = dy.data().data();
    float* pdx = gradient.mutable_data().data();
    for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) {
      kernels().pool.max_backward(px + in, py + out, pdy + out, pdx + in, g);
    });
    dx.add(0, gradient);
  });
}

// y = sum over the window / (kernel_h kernel_w); dx = the sum of dy / (kernel_h kernel_w) over windows around x.
Tensor avg_pool2d(const Tensor& x, const Pool2dOptions& options) {
  const PoolGeometry g = geometry_of("avg_pool2d", x, options);
  Tensor y = Tensor::empty({x.dim(0), g.out_height, g.out_width, g.channels});
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  for_each_image(x.dim(0), g, [&](int64_t in, int64_t out) { kernels().pool.average_forward(from + in, to + out, g); });
  return record("avg_pool2d", y, {x}, [shape = x.shape(), g](Tensor dy, Grads& dx) {
    Tensor gradient = Tensor::zeros(shape);
    const float* pdy = dy.data().data();
    float* pdx = gradient.mutable_data().data();
    for_each_image(shape[0], g,
                   [&](int64_t in, int64_t out) { kernels().pool.average_backward(pdy + out, pdx + in, g); });
    dx.add(0, gradient);
  });
}

// y = the mean over height and width: one window.
Tensor global_avg_pool2d(const Tensor& x) {
  check(x.rank() == 4 && x.dim(1) * x.dim(2) > 0, "global_avg_pool2d: expected images [N,H,W,C], got {}", x.shape());
  return avg_pool2d(x, {x.dim(1), x.dim(2), 1, 1, 0, 0});
}

}  // namespace qgrad
