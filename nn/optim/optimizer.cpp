// What all optimizers share: groups, steps, and their state.
#include <algorithm>

#include "core/json.h"
#include "nn/optim/optimizer.h"

namespace qgrad {
namespace {

const std::string kObserved = "observer/";

}  // namespace

void Optimizer::add_param_group(ParamGroup group) {
  for (size_t i = 0; i < group.parameters.size(); ++i)
    check(std::ranges::count(group.parameters, group.parameters[i]) == 1, "optimizer: {} stands twice in group '{}'",
          group.parameters[i]->path(), group.name);
  for (ParamGroup& earlier : groups_)
    std::erase_if(earlier.parameters, [&](Parameter* p) { return std::ranges::count(group.parameters, p) > 0; });
  for (const Parameter* p : group.parameters) {
    State& state = states_[p];
    if (state.buffers.empty())
      for (const Buffer& buffer : buffers_) state.buffers.push_back(zeros(buffer, *p));
  }
  groups_.push_back(std::move(group));
}

void Optimizer::zero_grad() {
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters) p->raw().set_grad(Tensor());
}

void Optimizer::step() {
  if (observer_) observer_->before_step();
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters) {
      if (!p->raw().grad().defined()) continue;
      State& state = states_.at(p);
      update(*p, state.buffers, !state.stepped, lr_ * group.lr_factor, group.weight_decay.value_or(weight_decay_));
      p->restrain();
      state.stepped = true;
    }
  if (observer_) observer_->after_step();
}

std::map<std::string, Tensor> Optimizer::state() const {
  std::map<std::string, Tensor> all;
  for (const auto& [parameter, state] : states_)
    for (size_t i = 0; state.stepped && i < buffers_.size(); ++i)
      all[parameter->path() + "." + buffers_[i].name] = state.buffers[i].clone();
  if (observer_)
    for (const auto& [key, value] : observer_->state()) all[kObserved + key] = value;
  return all;
}

void Optimizer::load_state(const std::map<std::string, Tensor>& all) {
  std::unordered_map<const Parameter*, State> loaded;
  std::map<std::string, Tensor> observed;
  for (const auto& [key, value] : all) {
    if (observer_ && key.starts_with(kObserved)) {
      observed[key.substr(kObserved.size())] = value;
      continue;
    }
    const size_t dot = key.rfind('.');
    check(dot != std::string::npos, "optimizer state: '{}' is no <parameter>.<name>", key);
    const Parameter& parameter = owner_of(key.substr(0, dot));
    const auto buffer = std::ranges::find(buffers_, key.substr(dot + 1), &Buffer::name);
    check(buffer != buffers_.end(), "optimizer state: '{}' is none of this optimizer's", key);
    const Shape shape = zeros(*buffer, parameter).shape();
    check(value.shape() == shape, "optimizer state: {} wants shape {}, got {}", key, shape, value.shape());
    State& state = loaded[&parameter];
    state.stepped = true;
    state.buffers.resize(buffers_.size());
    state.buffers[static_cast<size_t>(buffer - buffers_.begin())] = value.clone();
  }
  for (const auto& [parameter, state] : loaded)
    for (size_t i = 0; i < buffers_.size(); ++i)
      check(state.buffers[i].defined(), "optimizer state: {} lacks {}", parameter->path(), buffers_[i].name);
  if (observer_) observer_->load_state(observed);
  for (auto& [parameter, state] : states_) {
    if (const auto found = loaded.find(parameter); found != loaded.end()) {
      state = std::move(found->second);
    } else {
      state.stepped = false;
      for (Tensor& buffer : state.buffers) std::ranges::fill(buffer.mutable_data(), 0.0f);
    }
  }
}

Tensor Optimizer::zeros(const Buffer& buffer, const Parameter& parameter) const {
  return buffer.is_scalar ? Tensor::scalar(0) : Tensor::zeros(parameter.raw().shape());
}

Parameter& Optimizer::owner_of(const std::string& path) const {
  std::vector<std::string> paths;
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters) {
      if (p->path() == path) return *p;
      paths.push_back(p->path());
    }
  fail("optimizer state: no parameter '{}'{}", path, did_you_mean(path, paths));
}

}  // namespace qgrad
