// Optimizers: what a step does to parameters, by group.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/registry.h"
#include "nn/module.h"

namespace qgrad {

// Parameters that share settings. Settings not given are the optimizer's own.
struct ParamGroup {
  std::string name;  // "default", "clip_val"
  std::vector<Parameter*> parameters;
  std::optional<float> weight_decay;
  float lr_factor = 1;  // of the scheduled learning rate
};

class Optimizer {
 public:
  static constexpr const char* kRole = "optimizer";
  virtual ~Optimizer() = default;

  // A parameter that an earlier group holds moves to the new one.
  void add_param_group(ParamGroup group);
  const std::vector<ParamGroup>& param_groups() const { return groups_; }

  float lr() const { return lr_; }
  void set_lr(float lr) { lr_ = lr; }
  float base_lr() const { return base_lr_; }  // the config's

  void zero_grad();
  // Updates every parameter that has a gradient.
  void step();

  // Momentum buffers and counters by "<parameter path>.<name>", for checkpoints; in the parameters' own layout.
  virtual std::map<std::string, Tensor> state() const = 0;
  // Takes the place of all state. Throws where a name or a shape does not fit.
  virtual void load_state(const std::map<std::string, Tensor>& state) = 0;

 protected:
  Optimizer(float lr, float weight_decay) : lr_(lr), base_lr_(lr), weight_decay_(weight_decay) {}
  virtual void update(Parameter& parameter, float lr, float weight_decay) = 0;
  // Takes the memory for a parameter's state, if it has none. Called when the parameter is added, so that a training
  // needs no more memory after its first step.
  virtual void reserve(const Parameter& parameter) = 0;

  // Helpers for state(): one tensor per parameter, saved under a name; and back.
  using ParameterBuffers = std::unordered_map<const Parameter*, Tensor>;
  using ParameterSet = std::unordered_set<const Parameter*>;
  static void save_buffers(std::map<std::string, Tensor>& state, const char* name, const ParameterBuffers& buffers,
                           const ParameterSet& of);
  std::pair<Parameter*, std::string> owner_of(const std::string& key) const;  // "conv1.weight.momentum_buffer"
  static void load_buffer(ParameterBuffers& buffers, const Parameter& parameter, const Tensor& value,
                          const Shape& shape);

 private:
  std::vector<ParamGroup> groups_;
  float lr_, base_lr_, weight_decay_;
};

}  // namespace qgrad
