// The Adam and AdamW updates.
#include "nn/optim/adam.h"

#include <cmath>

#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kGrain = 1 << 14;

const Registered<Optimizer, Adam, AdamConfig> registered_adam{"Adam"};
const Registered<Optimizer, Adam, AdamWConfig> registered_adamw{"AdamW"};

}  // namespace

Adam::Adam(const AdamConfig& config, bool decoupled)
    : Optimizer(config.lr, config.weight_decay), config_(config), decoupled_(decoupled) {
  check(config.beta1 < 1 && config.beta2 < 1, "Adam: beta1 and beta2 must be less than 1, got {} and {}", config.beta1,
        config.beta2);
}

void Adam::reserve(const Parameter& parameter) {
  for (ParameterBuffers* buffers : {&mean_, &mean_square_})
    buffers->try_emplace(&parameter, Tensor::zeros(parameter.raw().shape()));
  steps_.try_emplace(&parameter, Tensor::scalar(0));
}

void Adam::update(Parameter& parameter, float lr, float weight_decay) {
  const Tensor gradient = parameter.raw().grad();
  stepped_.insert(&parameter);
  const double t = ++steps_.at(&parameter).mutable_data()[0];
  const auto step_size = static_cast<float>(lr / (1 - std::pow(config_.beta1, t)));
  const auto root_correction = static_cast<float>(std::sqrt(1 - std::pow(config_.beta2, t)));
  const auto keep1 = static_cast<float>(config_.beta1), take1 = static_cast<float>(1 - config_.beta1);
  const auto keep2 = static_cast<float>(config_.beta2), take2 = static_cast<float>(1 - config_.beta2);
  const float shrink = decoupled_ ? 1 - lr * weight_decay : 1, decay = decoupled_ ? 0 : weight_decay;

  const float* g = gradient.data().data();
  float* p = parameter.raw().mutable_data().data();
  float* m = mean_[&parameter].mutable_data().data();
  float* v = mean_square_[&parameter].mutable_data().data();
  parallel_for(gradient.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      p[i] *= shrink;
      const float decayed = g[i] + decay * p[i];
      m[i] = keep1 * m[i] + take1 * decayed;
      v[i] = keep2 * v[i] + take2 * decayed * decayed;
      p[i] -= step_size * (m[i] / (std::sqrt(v[i]) / root_correction + config_.eps));
    }
  });
}

std::map<std::string, Tensor> Adam::state() const {
  std::map<std::string, Tensor> state;
  save_buffers(state, "exp_avg", mean_, stepped_);
  save_buffers(state, "exp_avg_sq", mean_square_, stepped_);
  save_buffers(state, "step", steps_, stepped_);
  return state;
}

void Adam::load_state(const std::map<std::string, Tensor>& state) {
  ParameterBuffers mean, mean_square, steps;
  for (const auto& [key, value] : state) {
    const auto [parameter, name] = owner_of(key);
    if (name == "step") {
      load_buffer(steps, *parameter, value, Shape{});
    } else {
      check(name == "exp_avg" || name == "exp_avg_sq", "Adam state: unknown entry '{}'", key);
      load_buffer(name == "exp_avg" ? mean : mean_square, *parameter, value, parameter->raw().shape());
    }
  }
  for (const auto& [parameter, step] : steps)
    check(mean.contains(parameter) && mean_square.contains(parameter), "Adam state: {} lacks exp_avg or exp_avg_sq",
          parameter->path());
  check(steps.size() == mean.size() && steps.size() == mean_square.size(), "Adam state: {} steps for {} parameters",
        steps.size(), mean.size());
  stepped_.clear();
  for (auto& [parameter, step] : steps) {
    stepped_.insert(parameter);
    steps_[parameter] = std::move(step);
    mean_[parameter] = std::move(mean.at(parameter));
    mean_square_[parameter] = std::move(mean_square.at(parameter));
  }
}

}  // namespace qgrad
