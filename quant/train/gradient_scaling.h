// Gradients that know how far a number lies from its level.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace qgrad {

// y, the levels of x, with a gradient g that grows where x lies on the side of its level that a step against g leads
// away from, and shrinks on the other:
//   g (1 + strength sign(g) d),  d = (x - y) steps_per_unit, within +-1/2
// steps_per_unit: one for all numbers, or one for each of the last dimension. What gave y gets this gradient, and so do
// its parameters.
// (Lee, Kim and Ham, "Network quantization with element-wise gradient scaling", CVPR 2021, eq. 4; there d is measured
// in parts of the range)
Tensor with_scaled_gradient(const Tensor& x, const Tensor& y, float strength, const std::vector<float>& steps_per_unit);

}  // namespace qgrad
