// Sums in double precision. All exact: the order is spelled out in lanes, and every term is rounded to double as IEEE
// 754 says, so every instruction set gets the same bits.
#pragma once

#include <stddef.h>

namespace qgrad {

struct ReduceKernels {
  double (*sum)(const float* x, size_t n);
  double (*dot)(const float* a, const float* b, size_t n);
  double (*squared_distance)(const float* a, const float* b, size_t n);  // the sum of (a - b)^2
  // sums[c] = sum over rows of x[row * stride + c], for c in 0 .. columns-1, row after row.
  void (*sum_columns)(const float* x, size_t rows, size_t columns, size_t stride, double* sums);
};

}  // namespace qgrad
