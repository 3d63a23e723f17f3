// Stochastic gradient descent with momentum.
#pragma once

#include "nn/optim.h"

namespace qgrad {

struct SgdConfig {
  float lr = 0.1f;
  float momentum = 0;
  float dampening = 0;
  float weight_decay = 0;
  bool nesterov = false;
};
template <class V>
void fields(V& v, SgdConfig& c) {
  v("lr", c.lr, {.help = "learning rate", .min = 0});
  v("momentum", c.momentum, {.min = 0, .max = 1});
  v("dampening", c.dampening, {.help = "of the gradient that enters the momentum buffer", .min = 0, .max = 1});
  v("weight_decay", c.weight_decay, {.help = "added to the gradient, times the parameter", .min = 0});
  v("nesterov", c.nesterov, {.help = "step along gradient + momentum * buffer"});
}

// As PyTorch's SGD:  g += weight_decay * p;  buffer = momentum * buffer + (1 - dampening) * g, at first g itself;
// p -= lr * buffer, or lr * (g + momentum * buffer) with Nesterov.
class Sgd final : public Optimizer {
 public:
  explicit Sgd(const SgdConfig& config);
  std::map<std::string, Tensor> state() const override;
  void load_state(const std::map<std::string, Tensor>& state) override;

 protected:
  void update(Parameter& parameter, float lr, float weight_decay) override;
  void reserve(const Parameter& parameter) override;

 private:
  SgdConfig config_;
  ParameterBuffers momentum_;
  ParameterSet stepped_;  // those that have moved
};

}  // namespace qgrad
