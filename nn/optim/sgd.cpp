// The SGD update.
#include "nn/optim/sgd.h"

#include "core/parallel.h"

namespace qgrad {
namespace {

const Registered<Optimizer, Sgd, SgdConfig> sgd{"SGD", "stochastic gradient descent with momentum, Nesterov's too"};

}  // namespace

Sgd::Sgd(const SgdConfig& config)
    : Optimizer(config.lr, config.weight_decay,
                config.momentum == 0 ? std::vector<Buffer>{} : std::vector<Buffer>{{"momentum_buffer"}}),
      config_(config) {
  check(!config.nesterov || (config.momentum > 0 && config.dampening == 0),
        "SGD: nesterov needs momentum above 0 and dampening 0, got {} and {}", config.momentum, config.dampening);
}

void Sgd::update(Parameter& parameter, std::span<Tensor> buffers, bool is_first, float lr, float weight_decay) {
  const Tensor gradient = parameter.raw().grad();
  const float* g = gradient.data().data();
  float* p = parameter.raw().mutable_data().data();
  if (config_.momentum == 0) {
    parallel_for(gradient.numel(), kOptimizerGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) p[i] -= lr * (g[i] + weight_decay * p[i]);
    });
    return;
  }
  // The first buffer is the gradient itself: 0 * zeros + 1 * g.
  const float keep = is_first ? 0 : config_.momentum, take = is_first ? 1 : 1 - config_.dampening;
  // Nesterov steps along g + momentum * buffer, plain momentum along the buffer.
  const float own = config_.nesterov ? 1 : 0, share = config_.nesterov ? config_.momentum : 1;
  float* b = buffers[0].mutable_data().data();
  parallel_for(gradient.numel(), kOptimizerGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float decayed = g[i] + weight_decay * p[i];
      b[i] = keep * b[i] + take * decayed;
      p[i] -= lr * (own * decayed + share * b[i]);
    }
  });
}

}  // namespace qgrad
