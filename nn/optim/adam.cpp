// The Adam and AdamW updates.
#include "nn/optim/adam.h"

#include <cmath>

#include "core/parallel.h"

namespace qgrad {
namespace {

const Registered<Optimizer, Adam, AdamConfig> registered_adam{"Adam", "Adam (Kingma and Ba 2015)"};
const Registered<Optimizer, Adam, AdamWConfig> registered_adamw{
    "AdamW", "Adam with decoupled weight decay (Loshchilov and Hutter 2019)"};

}  // namespace

Adam::Adam(const AdamConfig& config, bool decoupled)
    : Optimizer(config.lr, config.weight_decay, {{"exp_avg"}, {"exp_avg_sq"}, {"step", /*is_scalar=*/true}}),
      config_(config),
      decoupled_(decoupled) {
  check(config.beta1 < 1 && config.beta2 < 1, "Adam: beta1 and beta2 must be less than 1, got {} and {}", config.beta1,
        config.beta2);
}

void Adam::update(Parameter& parameter, std::span<Tensor> buffers, bool, float lr, float weight_decay) {
  const Tensor gradient = parameter.raw().grad();
  const double t = ++buffers[2].mutable_data()[0];
  const auto step_size = static_cast<float>(lr / (1 - std::pow(config_.beta1, t)));
  const auto root_correction = static_cast<float>(std::sqrt(1 - std::pow(config_.beta2, t)));
  const auto keep1 = static_cast<float>(config_.beta1), take1 = static_cast<float>(1 - config_.beta1);
  const auto keep2 = static_cast<float>(config_.beta2), take2 = static_cast<float>(1 - config_.beta2);
  const float shrink = decoupled_ ? 1 - lr * weight_decay : 1, decay = decoupled_ ? 0 : weight_decay;

  const float* g = gradient.data().data();
  float* p = parameter.raw().mutable_data().data();
  float* m = buffers[0].mutable_data().data();
  float* v = buffers[1].mutable_data().data();
  parallel_for(gradient.numel(), kOptimizerGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      p[i] *= shrink;
      const float decayed = g[i] + decay * p[i];
      m[i] = keep1 * m[i] + take1 * decayed;
      v[i] = keep2 * v[i] + take2 * decayed * decayed;
      p[i] -= step_size * (m[i] / (std::sqrt(v[i]) / root_correction + config_.eps));
    }
  });
}

}  // namespace qgrad
