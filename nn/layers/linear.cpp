// Construction and printing of Linear.
#include "nn/layers/linear.h"

namespace qgrad {
namespace {

Tensor linear_weight(const LinearConfig& c) {
  check(c.in > 0 && c.out > 0, "Linear: features must be positive, got {} -> {}", c.in, c.out);
  return Tensor::zeros({c.in, c.out});
}

const RegisteredLayer<Linear, LinearConfig> linear_class{"Linear"};

}  // namespace

void fields(Fields& v, LinearConfig& c) {
  v("in", c.in, {.help = "features of the input; 0: as many as it has", .min = 0});
  v("out", c.out, {.help = "features of the output", .min = 1, .required = true});
  v("bias", c.bias, {.help = "whether a bias is added"});
}

void complete(LinearConfig& config, const LayerClass::InputShape& input) { complete_size(config.in, input); }

Linear::Linear(const LinearConfig& config) : WeightedSum(linear_weight(config), config.bias) {}

std::string Linear::describe() const {
  return fmt::format("{}, {}{}", weight.raw().dim(0), weight.raw().dim(1), bias_described());
}

}  // namespace qgrad
