// Functions of each number by name, and what they do to numbers.
#include "nn/layers/functions.h"

#include <algorithm>
#include <cmath>

namespace qgrad {

// For fields(), found by the type.
std::vector<std::pair<std::string, GeluApproximation>> enum_names(GeluApproximation*) {
  return {{"none", GeluApproximation::none}, {"tanh", GeluApproximation::tanh}};
}

namespace {

Effect function_within(const Limits& gives, const Limits& tells_apart = {}) {
  return {.kind = Effect::Kind::applies, .gives = gives, .tells_apart = tells_apart};
}

const RegisteredLayer<HardSwish> hard_swish_class{"HardSwish"};
const RegisteredLayer<SiLU> silu_class{"SiLU"};
const RegisteredLayer<Softplus> softplus_class{"Softplus"};
const RegisteredLayer<Erf> erf_class{"Erf"};
const RegisteredLayer<Exp> exp_class{"Exp"};
const RegisteredLayer<Log> log_class{"Log"};
const RegisteredLayer<Sqrt> sqrt_class{"Sqrt"};
const RegisteredLayer<Neg> neg_class{"Neg"};
const RegisteredLayer<Abs> abs_class{"Abs"};
const RegisteredLayer<LeakyReLU, LeakyReLUConfig> leaky_relu_class{"LeakyReLU"};
const RegisteredLayer<PReLU, PReLUConfig> prelu_class{"PReLU"};
const RegisteredLayer<ELU, ELUConfig> elu_class{"ELU"};
const RegisteredLayer<HardSigmoid, HardSigmoidConfig> hard_sigmoid_class{"HardSigmoid"};
const RegisteredLayer<GELU, GELUConfig> gelu_class{"GELU"};
const RegisteredLayer<Pow, PowConfig> pow_class{"Pow"};

}  // namespace

void fields(Fields& v, LeakyReLUConfig& c) { v("slope", c.slope, {.help = "factor of numbers below 0"}); }
void fields(Fields& v, PReLUConfig& c) {
  v("features", c.features, {.help = "features with a slope of their own; 0: as many as there are, 1: one slope"});
}
void fields(Fields& v, ELUConfig& c) { v("alpha", c.alpha, {.help = "what negative numbers end at, times -1"}); }
void fields(Fields& v, HardSigmoidConfig& c) {
  v("alpha", c.alpha, {.help = "factor of the input"});
  v("beta", c.beta, {.help = "what is added to it"});
}
void fields(Fields& v, GELUConfig& c) {
  v("approximate", c.approximate, {.help = "\"tanh\" in the place of the error function, or \"none\""});
}
void fields(Fields& v, PowConfig& c) { v("exponent", c.exponent, {.help = "exponent", .required = true}); }

void complete(PReLUConfig& config, const LayerClass::InputShape& input) { complete_size(config.features, input); }

Effect LeakyReLU::effect() const {
  if (slope_ == 0) return Effect::clamping({.low = 0});
  return slope_ < 0 ? function_within({.low = 0}) : function_within({});
}

PReLU::PReLU(const PReLUConfig& config) : weight(parameter("weight", Tensor::full({config.features}, 0.25f))) {
  check(config.features > 0, "PReLU: features must be positive, got {}", config.features);
}
Effect PReLU::effect() const { return weight.raw().numel() == 1 ? function_within({}) : Effect(); }

Effect ELU::effect() const { return function_within({.low = -std::max(alpha_, 0.0f)}, {.low = -6}); }

Effect HardSigmoid::effect() const {
  if (config_.alpha == 0) return function_within({0, 1});
  const float at_0 = -config_.beta / config_.alpha, at_1 = (1 - config_.beta) / config_.alpha;
  return function_within({0, 1}, {std::min(at_0, at_1), std::max(at_0, at_1)});
}

std::string GELU::describe() const { return approximate_ == GeluApproximation::tanh ? "approximate=tanh" : ""; }
Effect GELU::effect() const { return function_within({.low = -0.17004075f}, {.low = -4}); }

Effect Pow::effect() const {
  const bool keeps_signs = std::nearbyint(exponent_ / 2) != exponent_ / 2 && std::nearbyint(exponent_) == exponent_;
  return keeps_signs ? function_within({}) : function_within({.low = 0});
}

}  // namespace qgrad
