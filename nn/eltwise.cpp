// Forward passes of the layers with several inputs.
#include "nn/eltwise.h"

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

Tensor Matmul::forward(Inputs x) {
  check_two_matrices(kind(), x);
  return matmul(x[0], x[1]);
}

Tensor BatchMatmul::forward(Inputs x) {
  check_two_matrices(kind(), x);
  return matmul(x[0], x[1]);
}

}  // namespace qgrad
