// Windows over one NHWC image. All exact.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace qgrad {

struct PoolGeometry {
  int64_t height, width, channels;  // of the input image
  int64_t out_height, out_width;
  int64_t kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w;
  int64_t dilation_h = 1, dilation_w = 1;
  // Of averages: what they are divided by. The last windows reach that far beyond the padding, which does not count.
  bool count_padding = true;
  int64_t excess_h = 0, excess_w = 0;
};

// x, dx: [height, width, channels]; y, dy: [out_height, out_width, channels].
struct PoolKernels {
  // The largest number of each window; a NaN counts as larger than anything. Padding never wins.
  void (*max_forward)(const float* x, float* y, const PoolGeometry& g);
  // The sum of each window, padding counting as zeros, divided by how many positions count.
  void (*average_forward)(const float* x, float* y, const PoolGeometry& g);
};

// Apart from them, as the engine does without.
struct PoolGradientKernels {
  // dx must be zero before; dy goes to the first position of the window, row after row, that holds y.
  void (*max_backward)(const float* x, const float* y, const float* dy, float* dx, const PoolGeometry& g);
  // dx must be zero before.
  void (*average_backward)(const float* dy, float* dx, const PoolGeometry& g);
};

}  // namespace qgrad
