// The SGD update.
#include "nn/optim/sgd.h"

#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kGrain = 1 << 14;

const Registered<Optimizer, Sgd, SgdConfig> registered{"SGD"};

}  // namespace

Sgd::Sgd(const SgdConfig& config) : Optimizer(config.lr, config.weight_decay), config_(config) {
  check(!config.nesterov || (config.momentum > 0 && config.dampening == 0),
        "SGD: nesterov needs momentum above 0 and dampening 0, got {} and {}", config.momentum, config.dampening);
}

void Sgd::reserve(const Parameter& parameter) {
  if (config_.momentum != 0) momentum_.try_emplace(&parameter, Tensor::zeros(parameter.raw().shape()));
}

void Sgd::update(Parameter& parameter, float lr, float weight_decay) {
  const Tensor gradient = parameter.raw().grad();
  const float* g = gradient.data().data();
  float* p = parameter.raw().mutable_data().data();
  if (config_.momentum == 0) {
    parallel_for(gradient.numel(), kGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) p[i] -= lr * (g[i] + weight_decay * p[i]);
    });
    return;
  }
  // The first buffer is the gradient itself: 0 * zeros + 1 * g.
  const bool is_first = stepped_.insert(&parameter).second;
  const float keep = is_first ? 0 : config_.momentum, take = is_first ? 1 : 1 - config_.dampening;
  // Nesterov steps along g + momentum * buffer, plain momentum along the buffer.
  const float own = config_.nesterov ? 1 : 0, share = config_.nesterov ? config_.momentum : 1;
  float* b = momentum_.at(&parameter).mutable_data().data();
  parallel_for(gradient.numel(), kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float decayed = g[i] + weight_decay * p[i];
      b[i] = keep * b[i] + take * decayed;
      p[i] -= lr * (own * decayed + share * b[i]);
    }
  });
}

std::map<std::string, Tensor> Sgd::state() const {
  std::map<std::string, Tensor> state;
  save_buffers(state, "momentum_buffer", momentum_, stepped_);
  return state;
}

void Sgd::load_state(const std::map<std::string, Tensor>& state) {
  ParameterBuffers loaded;
  for (const auto& [key, value] : state) {
    const auto [parameter, name] = owner_of(key);
    check(name == "momentum_buffer", "SGD state: unknown entry '{}'", key);
    load_buffer(loaded, *parameter, value, parameter->raw().shape());
  }
  stepped_.clear();
  for (auto& [parameter, buffer] : loaded) {
    stepped_.insert(parameter);
    momentum_[parameter] = std::move(buffer);
  }
}

}  // namespace qgrad
