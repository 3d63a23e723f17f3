// The weight gradient of a convolution by Winograd's method: inputs and output gradients at the points, a sum of outer
// products for each point, and the gradient of the taps from these.
#pragma once

#include "core/kernels/gemm/gemm.h"
#include "core/kernels/winograd/convolution.h"

namespace qgrad {

struct WinogradGradient {
  const WinogradKernels& winograd;
  const WinogradGradientKernels& gradient;
  const GemmGradientKernels& gemm;
};

// Of sums of outer products, [points, in, out].
int64_t winograd_sum_floats(const ConvGeometry& geometry);

// Adds the products of rows [row_begin, row_end) of tiles of the call's images. Its dw and scratch are not used.
void add_winograd_products(const WinogradGradient& kernels, const ConvGeometry& geometry,
                           const ConvWeightGradient& call, float* sums);

// dw = what the sums come to, rows of pixel_pitch floats.
void winograd_tap_gradient(const WinogradGradient& kernels, const ConvGeometry& geometry, const float* sums, float* dw);

}  // namespace qgrad
