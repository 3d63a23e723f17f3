// What all optimizers share: groups, steps, and the names of their state.
#include <algorithm>

#include "core/json.h"
#include "nn/optim.h"

namespace qgrad {

void Optimizer::add_param_group(ParamGroup group) {
  for (size_t i = 0; i < group.parameters.size(); ++i)
    check(std::ranges::count(group.parameters, group.parameters[i]) == 1, "optimizer: {} stands twice in group '{}'",
          group.parameters[i]->path(), group.name);
  for (ParamGroup& earlier : groups_)
    std::erase_if(earlier.parameters, [&](Parameter* p) { return std::ranges::count(group.parameters, p) > 0; });
  for (const Parameter* p : group.parameters) reserve(*p);
  groups_.push_back(std::move(group));
}

void Optimizer::zero_grad() {
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters) p->raw().set_grad(Tensor());
}

void Optimizer::step() {
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters)
      if (p->raw().grad().defined()) update(*p, lr_ * group.lr_factor, group.weight_decay.value_or(weight_decay_));
}

void Optimizer::save_buffers(std::map<std::string, Tensor>& state, const char* name, const ParameterBuffers& buffers,
                             const ParameterSet& of) {
  for (const Parameter* p : of) state[p->path() + "." + name] = buffers.at(p).clone();
}

std::pair<Parameter*, std::string> Optimizer::owner_of(const std::string& key) const {
  const size_t dot = key.rfind('.');
  check(dot != std::string::npos, "optimizer state: '{}' is no <parameter>.<name>", key);
  std::vector<std::string> paths;
  for (const ParamGroup& group : groups_)
    for (Parameter* p : group.parameters) {
      paths.push_back(p->path());
      if (paths.back() == key.substr(0, dot)) return {p, key.substr(dot + 1)};
    }
  fail("optimizer state: no parameter '{}'{}", key.substr(0, dot), did_you_mean(key.substr(0, dot), paths));
}

void Optimizer::load_buffer(ParameterBuffers& buffers, const Parameter& parameter, const Tensor& value,
                            const Shape& shape) {
  check(value.shape() == shape, "optimizer state: {} wants a buffer of shape {}, got {}", parameter.path(), shape,
        value.shape());
  buffers[&parameter] = value.clone();
}

}  // namespace qgrad
