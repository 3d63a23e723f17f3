// The bias of linear and convolution layers: its check and its gradient.
#pragma once

#include "core/tensor.h"

namespace qgrad {

// Throws unless bias is undefined or [out], out being the last dimension of weight.
void check_bias(const char* op, const Tensor& bias, const Shape& weight);

// dy [.., out] summed over all dimensions but the last, in an order that depends on the shape only; over those of all
// ranks where dy is a part of a batch.
Tensor bias_gradient(const Tensor& dy, bool part);

}  // namespace qgrad
