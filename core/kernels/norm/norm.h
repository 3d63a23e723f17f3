// Per-channel loops of batch normalisation on x [rows, channels]. All exact: a channel's sums run over the rows in
// order, in float over eight rows at a time, whose sums are added in double.
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>

namespace qgrad {

// A mask is one bit per number, the lowest bit of a byte first. Masks want a multiple of eight channels.

// What becomes of each number: (x - mean) * scale + shift, plus an addend, cut to 0 .. limit.
struct Normalization {
  const float *mean, *scale, *shift;  // [channels]
  bool add, relu;
  float limit = INFINITY;  // of relu
};

struct NormKernels {
  // Per channel: the sum of x - centre and of (x - centre)^2. With a centre anywhere among the numbers a variance from
  // both is sound.
  void (*moments)(const float* x, size_t rows, size_t channels, const float* centre, double* sum, double* sum_squares);
  // Per channel: the sum of dy and of dy * (x - mean), where the mask is set; null: everywhere.
  void (*gradient_moments)(const float* x, const float* dy, const uint8_t* mask, size_t rows, size_t channels,
                           const float* mean, double* sum, double* sum_products);
  // y from x and, where f.add, addend. With f.relu, `inside` becomes the mask of what is not cut, 0 < y < limit,
  // unless it is null.
  void (*normalize)(const Normalization& f, const float* x, const float* addend, float* y, uint8_t* inside, size_t rows,
                    size_t channels);
  // dx = dy * a + (x - mean) * b + c, with dy = 0 where the mask is not set; null: set everywhere. dx may be dy.
  void (*normalize_backward)(const float* x, const float* dy, const uint8_t* mask, float* dx, size_t rows,
                             size_t channels, const float* mean, const float* a, const float* b, const float* c);

  // dx = dy where the mask is set, else 0. dx may be dy. n is a multiple of eight, also below.
  void (*apply_mask)(const float* dy, const uint8_t* mask, float* dx, size_t n);
  // The mask of low <= x <= high.
  void (*mask_of_range)(const float* x, uint8_t* mask, size_t n, float low, float high);
};

}  // namespace qgrad
