// Convolutions of whole batches by Winograd's method, for trainings (core/kernels/winograd/).
#pragma once

#include <cstdint>

#include "core/kernels/conv/pack.h"
#include "core/tensor.h"

namespace qgrad {

// y = the convolution of `batch` images, each of which is all rows of the phase: a forward pass, or an input gradient.
// winograd_suits(phase.geometry).
void winograd_forward(const ConvPhase& phase, int64_t batch, const float* x, const float* bias, float* y);

// The weight gradient, of this shape; `part`: of a part of a batch (core/batch_sum.h). winograd_suits(geometry).
Tensor winograd_weight_gradient(const ConvGeometry& geometry, const Tensor& x, const Tensor& dy, const Shape& shape,
                                bool part);

}  // namespace qgrad
