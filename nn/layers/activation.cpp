// Activation functions and layers without parameters by name.
#include "nn/layers/activation.h"

namespace qgrad {
namespace {

const RegisteredLayer<ReLU> relu_class{"ReLU"};
const RegisteredLayer<ReLU6> relu6_class{"ReLU6"};
const RegisteredLayer<Sigmoid> sigmoid_class{"Sigmoid"};
const RegisteredLayer<Tanh> tanh_class{"Tanh"};
const RegisteredLayer<Clamp, ClampConfig> clamp_class{"Clamp"};
const RegisteredLayer<Softmax, SoftmaxConfig> softmax_class{"Softmax"};
const RegisteredLayer<LogSoftmax, SoftmaxConfig> log_softmax_class{"LogSoftmax"};
const RegisteredLayer<Identity> identity_class{"Identity"};
const RegisteredLayer<Flatten> flatten_class{"Flatten"};

}  // namespace

void fields(Fields& v, ClampConfig& c) {
  v("low", c.low, {.help = "what smaller numbers become; null: there is no such bound"});
  v("high", c.high, {.help = "what larger numbers become; null: there is no such bound"});
}

void fields(Fields& v, SoftmaxConfig& c) { v("dim", c.dim, {.help = "dimension that is normalised"}); }

Clamp::Clamp(const ClampConfig& config)
    : low_(config.low.value_or(Limits().low)), high_(config.high.value_or(Limits().high)) {
  check(low_ <= high_, "Clamp: the lower bound {} is above the upper bound {}", low_, high_);
}

}  // namespace qgrad
