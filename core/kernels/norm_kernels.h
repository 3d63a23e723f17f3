// Per-channel loops of batch normalisation on x [rows, channels]. All exact: a channel's sums run over the rows in
// order, in float over eight rows at a time, whose sums are added in double.
#pragma once

#include <stddef.h>

namespace qgrad {

struct NormKernels {
  // Per channel: the sum of x - centre and of (x - centre)^2. With a centre anywhere among the numbers a variance from
  // both is sound.
  void (*moments)(const float* x, size_t rows, size_t channels, const float* centre, double* sum, double* sum_squares);
  // Per channel: the sum of dy and of dy * (x - mean).
  void (*gradient_moments)(const float* x, const float* dy, size_t rows, size_t channels, const float* mean,
                           double* sum, double* sum_products);
  // y = (x - mean) * scale + shift. y may be x.
  void (*normalize)(const float* x, float* y, size_t rows, size_t channels, const float* mean, const float* scale,
                    const float* shift);
  // dx = dy * a + (x - mean) * b + c. dx may be dy.
  void (*normalize_backward)(const float* x, const float* dy, float* dx, size_t rows, size_t channels,
                             const float* mean, const float* a, const float* b, const float* c);
};

}  // namespace qgrad
