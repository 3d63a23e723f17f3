// Drawing initial values.
#include "nn/init.h"

#include <cmath>

#include "core/random.h"
#include "nn/layers/conv.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"

namespace qgrad {
namespace {

RandomStream stream(uint64_t seed, const Parameter& parameter) { return {seed, "init/" + parameter.path()}; }

void fill_normal(Parameter& parameter, double deviation, uint64_t seed) {
  RandomStream random = stream(seed, parameter);
  for (float& value : parameter.raw().mutable_data()) value = static_cast<float>(deviation * random.normal());
}

void fill_uniform(Parameter& parameter, double bound, uint64_t seed) {
  if (!parameter.defined()) return;
  RandomStream random = stream(seed, parameter);
  for (float& value : parameter.raw().mutable_data()) value = static_cast<float>(bound * (2.0 * random.uniform() - 1));
}

void initialize_conv(Conv2d& conv, uint64_t seed, ConvInit scheme) {
  const Shape& shape = conv.weight.raw().shape();  // [kh, kw, in/groups, out]
  const int64_t window = shape[0] * shape[1];
  if (scheme == ConvInit::kaiming_fan_out) {
    fill_normal(conv.weight, std::sqrt(2.0 / static_cast<double>(window * shape[3])), seed);
    return;
  }
  const double bound = 1 / std::sqrt(static_cast<double>(window * shape[2]));
  fill_uniform(conv.weight, bound, seed);
  fill_uniform(conv.bias, bound, seed);
}

}  // namespace

void initialize(Module& model, uint64_t seed, ConvInit conv_init) {
  visit_modules(model, [&](Module& module) {
    if (auto* conv = dynamic_cast<Conv2d*>(&module)) {
      initialize_conv(*conv, seed, conv_init);
    } else if (auto* linear = dynamic_cast<Linear*>(&module)) {
      const double bound = 1 / std::sqrt(static_cast<double>(linear->weight.raw().dim(0)));
      fill_uniform(linear->weight, bound, seed);
      fill_uniform(linear->bias, bound, seed);
    } else if (auto* embedding = dynamic_cast<Embedding*>(&module)) {
      fill_normal(embedding->weight, 1, seed);
    }
  });
}

}  // namespace qgrad
