// Stochastic gradient descent with momentum.
#pragma once

#include "nn/optim/optimizer.h"

namespace qgrad {

struct SgdConfig {
  float lr = 0.1f;
  float momentum = 0;
  float dampening = 0;
  float weight_decay = 0;
  bool nesterov = false;
};
inline void fields(Fields& v, SgdConfig& c) {
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

 protected:
  void update(Parameter& parameter, std::span<Tensor> buffers, bool is_first, float lr, float weight_decay) override;

 private:
  SgdConfig config_;
};

}  // namespace qgrad
