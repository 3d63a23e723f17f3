// Drawing initial values.
#include "nn/init.h"

#include "core/random.h"

namespace qgrad {
namespace {

RandomStream stream(uint64_t seed, const Parameter& parameter) { return {seed, "init/" + parameter.path()}; }

}  // namespace

void Initializer::normal(Parameter& parameter, double deviation) const {
  RandomStream random = stream(seed_, parameter);
  for (float& value : parameter.raw().mutable_data()) value = static_cast<float>(deviation * random.normal());
}

void Initializer::uniform(Parameter& parameter, double bound) const {
  if (!parameter.defined()) return;
  RandomStream random = stream(seed_, parameter);
  for (float& value : parameter.raw().mutable_data()) value = static_cast<float>(bound * (2.0 * random.uniform() - 1));
}

void initialize(Module& model, uint64_t seed, ConvInit conv) {
  const Initializer draw(seed, conv);
  visit_modules(model, [&](Module& module) { module.initialize(draw); });
}

}  // namespace qgrad
