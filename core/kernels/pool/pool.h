// Windows over one NHWC image. All exact.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qgrad {

struct PoolGeometry {
  int64_t height, width, channels;  // of the input image
  int64_t out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
};

// x, dx: [height, width, channels]; y, dy: [out_height, out_width, channels].
struct PoolKernels {
  // The largest number of each window; a NaN counts as larger than anything. Padding never wins.
  void (*max_forward)(const float* x, float* y, const PoolGeometry& g);
  // dx must be zero before; dy goes to the first position of the window, row after row, that holds y.
  void (*max_backward)(const float* x, const float* y, const float* dy, float* dx, const PoolGeometry& g);
  // The sum of each window, padding counting as zeros, divided by the window's size.
  void (*average_forward)(const float* x, float* y, const PoolGeometry& g);
  // dx must be zero before.
  void (*average_backward)(const float* dy, float* dx, const PoolGeometry& g);
};

}  // namespace qgrad
