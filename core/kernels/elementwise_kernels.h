// Elementwise loops. All exact: the same bits on every instruction set.
#pragma once

#include <cstddef>

namespace qgrad {

struct ElementwiseKernels {
  // y = a op b. y may be a or b.
  void (*add)(const float* a, const float* b, float* y, size_t n);
};

}  // namespace qgrad
