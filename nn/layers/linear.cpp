// Construction and printing of Linear.
#include "nn/layers/linear.h"

namespace qgrad {
namespace {

Tensor linear_weight(int64_t in, int64_t out) {
  check(in > 0 && out > 0, "Linear: features must be positive, got {} -> {}", in, out);
  return Tensor::zeros({in, out});
}

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias) : WeightedSum(linear_weight(in, out), with_bias) {}

std::string Linear::describe() const {
  return fmt::format("{}, {}{}", weight.raw().dim(0), weight.raw().dim(1), bias_described());
}

}  // namespace qgrad
