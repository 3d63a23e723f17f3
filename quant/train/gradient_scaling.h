// Gradients that know how far a number lies from its level.
#pragma once

#include <memory>
#include <vector>

#include "core/tensor.h"

namespace qgrad {

// What became of numbers.
struct ToLevels {
  Tensor y;
  std::vector<float> steps_per_unit;  // one, or one for each of the last dimension; none: gradients stay as they are
};

// x, to be quantized, with a gradient g that grows where x lies on the side of its level that a step against g leads
// away from, and shrinks on the other:
//   g (1 + strength sign(g) d),  d = (x - y) steps_per_unit, within +-1/2
// `levels` is filled when y is known, before the backward pass. What makes y of x, and its parameters, get gradients as
// ever: a learned step's is a sum of g d, in which the second term would always have the same sign.
// (Lee, Kim and Ham, "Network quantization with element-wise gradient scaling", CVPR 2021, eq. 4; there d is measured
// in parts of the range)
Tensor with_scaled_gradient(const Tensor& x, float strength, const std::shared_ptr<const ToLevels>& levels);

}  // namespace qgrad
