// Convolution kernels over NHWC images. All exact for finite numbers: an element of y is a chain of fused multiply-adds
// over rows of taps, taps and input channels in order, one of dw over images, rows and columns, whatever an instruction
// set computes at a time. What lies outside the image is left out or counted as zeros, which comes to the same.
//
// One forward kernel serves the forward pass and the input gradient: the gradient of a strided convolution is a set of
// unstrided convolutions of dy, one per phase of the input position modulo the stride, each writing every stride-th
// position of dx. That is what the pitches and negative paddings of ConvGeometry are for.
#pragma once

#include <cstdint>

#include "core/kernels/gemm/gemm.h"

namespace qgrad {

// Output position (r, c) reads input position (r * stride_h - padding_h + kh * dilation_h, likewise for c).
struct ConvGeometry {
  int64_t in_h, in_w, in;      // of one image; channels of all groups
  int64_t out_h, out_w, out;   // computed positions; channels of all groups
  int64_t kernel_h, kernel_w;  // 0: no taps, the output is the bias
  int64_t stride_h, stride_w;
  int64_t padding_h, padding_w;  // negative: the first window starts inside the image
  int64_t dilation_h, dilation_w;
  int64_t groups;
  int64_t row_pitch, pixel_pitch;  // floats of y between computed rows, and between computed positions of a row
};

// Panels [groups][ceil(out/groups/16)], `panel_step` floats from one to the next, of rows [kh][kw][in/groups] of 16
// numbers, `row_step` floats from one to the next. Depthwise: [kh][kw][out], the steps are not used.
struct ConvPanels {
  const float* data;
  int64_t panel_step, row_step;
};

// What is done to a sum, from top to bottom, before it is stored: the operations of passes of their own, so their bits.
struct ConvEnding {
  const float* addend = nullptr;  // laid out as y; or null
  bool clamps = false;            // to low .. high
  float low = 0, high = 0;
};

// Forward over rows [row_begin, row_end) of one image.
struct ConvForward {
  const float* x;  // the image, [in_h,in_w,in]
  ConvPanels weight;
  const float* bias;   // [out] or null
  float* y = nullptr;  // the image's position (0, 0)
  int64_t row_begin = 0, row_end = 0;
  float* scratch = nullptr;  // conv_scratch_floats(geometry, 1, row_end - row_begin); depthwise_forward wants none
  ConvEnding ending{};
  bool goes_on = true;  // the rows that follow in memory are, as a rule, what the next call reads
};

// Weight gradient over rows [row_begin, row_end) of `images` consecutive images. The pitches are those of dy.
struct ConvWeightGradient {
  const float* x;   // [images,in_h,in_w,in]
  const float* dy;  // [images,out_h,out_w,out]
  float* dw;        // [kh,kw,in/groups,out], rows of pixel_pitch floats; the sums are added to it
  int64_t images;
  int64_t row_begin, row_end;
  float* scratch;  // conv_scratch_floats(geometry, images, row_end - row_begin)
};

// Depthwise: groups == in == out.
struct ConvKernels {
  void (*forward)(const ConvGeometry&, const ConvForward&);
  void (*depthwise_forward)(const ConvGeometry&, const ConvForward&);
};

// Apart from them, as the engine does without.
struct ConvGradientKernels {
  void (*weight)(const ConvGeometry&, const ConvWeightGradient&);
  void (*depthwise_weight)(const ConvGeometry&, const ConvWeightGradient&);
};

// What the kernels need to hold a zero-padded copy of the input under `rows` output rows of `images` images.
int64_t conv_scratch_floats(const ConvGeometry& geometry, int64_t images, int64_t rows);

}  // namespace qgrad
