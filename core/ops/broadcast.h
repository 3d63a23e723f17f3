// Broadcasting two operands, and summing back over what was broadcast. For the ops in this folder.
#pragma once

#include "core/kernels/elementwise/elementwise.h"
#include "core/tensor.h"

namespace qgrad {

// a op b with NumPy broadcasting; not recorded. `op` names the op in errors.
Tensor broadcast_binary(const char* op, const BinaryKernels& kernels, const Tensor& a, const Tensor& b);

// Sums x over the dimensions in which it is larger than `shape`, which must broadcast to x's shape; not recorded.
// A tensor of that shape already comes back as it is. over_ranks: as Grads says of what has that shape.
Tensor sum_to(Tensor x, const Shape& shape, bool over_ranks);

// x [n, inner] summed over the first dimension in double: y [inner] = factor * the sums; of all ranks where x is a part
// of a batch.
void sum_leading(const float* x, int64_t n, int64_t inner, bool part, double factor, float* y);
// x seen as [outer, n, inner], summed over the middle in double: y [outer, inner] = factor * the sums.
// The order of additions depends on n and inner only.
void sum_middle(const float* x, int64_t outer, int64_t n, int64_t inner, double factor, float* y);
// The transpose of sum_middle: y [outer, n, inner] = factor * x [outer, inner], repeated.
void repeat_middle(const float* x, int64_t outer, int64_t n, int64_t inner, float factor, float* y);

}  // namespace qgrad
