// Forward passes of the layers with several inputs.
#include "nn/layers/eltwise.h"

namespace qgrad {
namespace {

template <class Op>
Tensor combine(std::string_view kind, Inputs x, Op op) {
  check(x.size() >= 2, "{} takes two inputs or more, got {}", kind, x.size());
  Tensor y = op(x[0], x[1]);
  for (const Tensor& next : x.subspan(2)) y = op(y, next);
  return y;
}

void check_two_matrices(std::string_view kind, Inputs x) {
  check(x.size() == 2, "{} takes two inputs, got {}", kind, x.size());
}

}  // namespace

Tensor EltwiseAdd::forward(Inputs x) { return combine(kind(), x, add); }
Tensor EltwiseMult::forward(Inputs x) { return combine(kind(), x, mul); }

Split::Split(int dim, int64_t parts, int64_t index) : dim_(dim), parts_(parts), index_(index) {
  check(parts > 0 && index >= 0 && index < parts, "Split: there is no part {} of {}", index, parts);
}

Tensor Split::forward(const Tensor& x) {
  const int64_t size = x.dim(dim_), part = size / parts_;
  check(size % parts_ == 0, "Split: dimension {} of {} does not divide into {} equal parts", dim_, x.shape(), parts_);
  return slice(x, dim_, index_ * part, (index_ + 1) * part);
}

Tensor Matmul::forward(Inputs x) {
  check_two_matrices(kind(), x);
  return matmul(x[0], x[1]);
}

Tensor BatchMatmul::forward(Inputs x) {
  check_two_matrices(kind(), x);
  return matmul(x[0], x[1]);
}

}  // namespace qgrad
