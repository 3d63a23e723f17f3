// Constant by name.
#include "nn/layers/constant.h"

namespace qgrad {
namespace {

const RegisteredLayer<Constant, ConstantConfig> constant_class{"Constant"};

}  // namespace

void fields(Fields& v, ConstantConfig& c) {
  v("shape", c.shape, {.help = "shape of the value; [] is a single number", .min = 0, .required = true});
}

Constant::Constant(const ConstantConfig& config)
    : value(parameter("value", Tensor::zeros(Shape(std::span<const int64_t>(config.shape))))) {}

Tensor Constant::forward(Inputs x) {
  check(x.empty(), "Constant takes no input, got {}", x.size());
  return value();
}

}  // namespace qgrad
