// Optimizers: what a step does to parameters, by group.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/registry.h"
#include "nn/module.h"

namespace qgrad {

constexpr int64_t kOptimizerGrain = 1 << 14;  // elements a thread updates at a time

// Parameters that share settings. Settings not given are the optimizer's own.
struct ParamGroup {
  std::string name;  // "default", "clip_val"
  std::vector<Parameter*> parameters;
  std::optional<float> weight_decay;
  float lr_factor = 1;  // of the scheduled learning rate
};

// Sees every step of an optimizer, with the gradients that it is made from and the parameters that it leaves. What it
// keeps between steps is saved with the optimizer's state.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void before_step() = 0;
  virtual void after_step() = 0;
  virtual std::map<std::string, Tensor> state() const = 0;                  // as Optimizer's
  virtual void load_state(const std::map<std::string, Tensor>& state) = 0;  // as Optimizer's
};

class Optimizer {
 public:
  static constexpr const char* kRole = "optimizer";
  virtual ~Optimizer() = default;

  // A parameter that an earlier group holds moves to the new one.
  void add_param_group(ParamGroup group);
  const std::vector<ParamGroup>& param_groups() const { return groups_; }

  // Takes the place of an earlier one.
  void set_observer(std::unique_ptr<StepObserver> observer) { observer_ = std::move(observer); }

  void set_lr(float lr) { lr_ = lr; }
  float base_lr() const { return base_lr_; }  // the config's

  void zero_grad();
  // Updates every parameter that has a gradient, within its limits.
  void step();

  // Momentum buffers and counters by "<parameter path>.<name>", for checkpoints; in the parameters' own layout. What
  // the observer keeps has "observer/" before.
  std::map<std::string, Tensor> state() const;
  // Takes the place of all state. Throws where a name or a shape does not fit.
  void load_state(const std::map<std::string, Tensor>& state);

 protected:
  // What an optimizer keeps for every parameter: a tensor of the parameter's shape, or one number.
  struct Buffer {
    const char* name;
    bool is_scalar = false;
  };
  Optimizer(float lr, float weight_decay, std::vector<Buffer> buffers)
      : buffers_(std::move(buffers)), lr_(lr), base_lr_(lr), weight_decay_(weight_decay) {}
  // `buffers`: in the constructor's order, zeros at the parameter's first step.
  virtual void update(Parameter& parameter, std::span<Tensor> buffers, bool is_first, float lr, float weight_decay) = 0;

 private:
  struct State {
    std::vector<Tensor> buffers;
    bool stepped = false;
  };
  Tensor zeros(const Buffer& buffer, const Parameter& parameter) const;
  Parameter& owner_of(const std::string& path) const;

  std::vector<Buffer> buffers_;
  std::vector<ParamGroup> groups_;
  // Made when a parameter is added, so that a training needs no more memory after its first step.
  std::unordered_map<const Parameter*, State> states_;
  std::unique_ptr<StepObserver> observer_;  // null: none
  float lr_, base_lr_, weight_decay_;
};

}  // namespace qgrad
