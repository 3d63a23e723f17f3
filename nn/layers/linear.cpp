// Construction and printing of Linear.
#include "nn/layers/linear.h"

namespace qgrad {
namespace {

Tensor linear_weight(int64_t in, int64_t out) {
  check(in > 0 && out > 0, "Linear: features must be positive, got {} -> {}", in, out);
  return Tensor::zeros({in, out});
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias)
    : weight(parameter("weight", linear_weight(in, out), Layout::linear)),
      bias(parameter("bias", with_bias ? Tensor::zeros({out}) : Tensor())) {}

std::string Linear::describe() const {
  return fmt::format("{}, {}{}", weight.raw().dim(0), weight.raw().dim(1), bias.defined() ? "" : ", bias=false");
}

}  // namespace qgrad
