// Geometries of convolutions with square windows.
#pragma once

#include "core/kernels/conv/conv.h"

namespace qgrad::test {

// gap: numbers between positions of a row, and between rows, that are not written.
inline ConvGeometry conv_geometry(int64_t in_h, int64_t in_w, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                                  int64_t padding, int64_t dilation, int64_t groups, int64_t gap) {
  const auto positions = [&](int64_t size) { return (size + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1; };
  ConvGeometry g{.in_h = in_h,
                 .in_w = in_w,
                 .in = in,
                 .out_h = positions(in_h),
                 .out_w = positions(in_w),
                 .out = out,
                 .kernel_h = kernel,
                 .kernel_w = kernel,
                 .stride_h = stride,
                 .stride_w = stride,
                 .padding_h = padding,
                 .padding_w = padding,
                 .dilation_h = dilation,
                 .dilation_w = dilation,
                 .groups = groups,
                 .row_pitch = 0,
                 .pixel_pitch = out + gap};
  g.row_pitch = g.out_w * g.pixel_pitch + gap;
  return g;
}

}  // namespace qgrad::test
