// Modules, and the three mechanisms that change what a model does: replace a Child, transform a Parameter, observe
// calls.
#pragma once

#include <array>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"
#include "nn/layout.h"

namespace qgrad {

class Module;
class Child;
class Parameter;
class Buffer;
class BatchNorm;
class Initializer;
class Separable;
class WeightedSum;
using ModulePtr = std::unique_ptr<Module>;
using Inputs = std::span<const Tensor>;

// What the numbers of a parameter or a buffer can be, or what a module gives; NaN and infinity are none.
struct Limits {
  float low = -std::numeric_limits<float>::max(), high = std::numeric_limits<float>::max();
  bool operator==(const Limits&) const = default;
};

// What a module does to the numbers that it gets. Quantizers, fusion and export ask for this and for no kind by name.
struct Effect {
  enum class Kind {
    mixes,     // whatever is none of the others
    none,      // gives what it gets
    moves,     // puts numbers elsewhere, some of them or with zeros between them: flattening, padding
    splits,    // gives one of several equal parts
    picks,     // the largest of some numbers
    averages,  // means of numbers
    applies,   // one function to each number
    sums,      // weighted sums and biases: a WeightedSum
    looks_up,  // gives rows of a table, an Embedding's, by their numbers
    adds,
    multiplies,
    multiplies_matrices,
    concatenates,
  };
  Kind kind = Kind::mixes;
  // Where it applies a function: what that gives lies within the first, and changes little, or not at all, where its
  // argument leaves the second.
  Limits gives, tells_apart;
  bool clamps = false;  // the function is min(max(x, gives.low), gives.high)
  bool operator==(const Effect&) const = default;

  static Effect clamping(const Limits& to) {
    return {.kind = Kind::applies, .gives = to, .tells_apart = to, .clamps = true};
  }
  bool is_rectifier() const { return clamps && gives.low == 0; }
  // Where the function has an upper bound.
  std::optional<float> cap() const { return gives.high < Limits().high ? std::optional(gives.high) : std::nullopt; }
  // Whether the signs and bounds of what it gets are those of what it gives.
  bool hands_on() const {
    return kind == Kind::moves || kind == Kind::splits || kind == Kind::picks || kind == Kind::averages;
  }
};

// A piece of a model. Neither copied nor moved, since slots and observers point at it; a copy is built again from its
// config and loads the state.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  // The name that printing, configs and replacement_factory use: "Conv2d".
  virtual std::string_view kind() const = 0;
  // What follows the kind when the model is printed: "3, 16, kernel=3x3, stride=1".
  virtual std::string describe() const { return ""; }
  virtual Effect effect() const { return {}; }
  virtual WeightedSum* weighted_sum() { return nullptr; }  // itself, where it is one
  virtual BatchNorm* batch_norm() { return nullptr; }
  virtual const Separable* separable() const { return nullptr; }
  virtual void initialize(const Initializer&) {}  // draws its own parameters, not its children's

  // A call: opens a tape scope, runs forward, tells the observers. Errors name the innermost module.
  template <class... T>
  Tensor operator()(const T&... x) {
    const std::array<Tensor, sizeof...(T)> inputs{x...};
    return call(inputs);
  }
  Tensor call(Inputs x);

  // "layer1.0.conv1"; "" for the root. A wrapper's Child has an empty name, so a wrapper and what it wraps share a path
  // and state-dict keys never change.
  std::string path() const;

  bool training() const { return training_; }
  void set_training(bool training);  // of this module, everything in it, and its parameters' transforms

  std::span<Child* const> children() const { return children_; }
  std::span<Parameter* const> parameters() const { return parameters_; }  // its own, not its children's
  std::span<Buffer* const> buffers() const { return buffers_; }

 protected:
  virtual Tensor forward(Inputs x) = 0;

  // For member initialisers: Child conv1 = child<Conv2d>("conv1", Conv2dConfig{...});
  template <class M, class... A>
  Child child(std::string name, A&&... args);
  Child child(std::string name, ModulePtr module);
  // Parameter weight = parameter("weight", Tensor::zeros({3, 3, 16, 32}), Layout::conv); an undefined tensor means
  // absent.
  Parameter parameter(std::string name, Tensor initial, const Layout& layout = Layout::plain);
  Buffer buffer(std::string name, Tensor initial);

 private:
  friend class Child;
  friend class Parameter;
  friend class Buffer;
  std::vector<Child*> children_;
  std::vector<Parameter*> parameters_;
  std::vector<Buffer*> buffers_;
  const Child* slot_ = nullptr;  // where this module is attached
  bool training_ = true;
};

// A module with one input.
class UnaryModule : public Module {
 protected:
  Tensor forward(Inputs x) final;
  virtual Tensor forward(const Tensor& x) = 0;
};

// The slot is the registry entry and what forward calls, so the two can not fall out of step.
class Child {
 public:
  Child(Module& owner, std::string name, ModulePtr module);  // registers itself with its owner
  Child(Module& owner, std::string name)
      : owner_(owner), name_(std::move(name)) {}  // unregistered and empty (transforms)
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  template <class... T>
  Tensor operator()(const T&... x) const {
    return (*module_)(x...);
  }
  const std::string& name() const { return name_; }
  Module& owner() const { return owner_; }
  Module* get() const { return module_.get(); }
  Module* operator->() const { return module_.get(); }
  Module& operator*() const { return *module_; }
  template <class M>
  M* as() const {  // null when the module is of another type
    return dynamic_cast<M*>(module_.get());
  }
  ModulePtr take();            // leaves the slot empty
  void put(ModulePtr module);  // takes over the training flag of what owns the slot

 private:
  Module& owner_;
  std::string name_;
  ModulePtr module_;
};

// A leaf of the optimisation, seen through an optional transform module (fake quantization of weights, say).
class Parameter {
 public:
  Parameter(Module& owner, std::string name, Tensor initial, const Layout& layout);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  // transform(raw), or raw; what forward uses. Undefined when the parameter is absent.
  Tensor operator()() const;
  // What the optimizer steps and the checkpoint stores.
  Tensor& raw() { return raw_; }
  const Tensor& raw() const { return raw_; }
  // Replaces the numbers (batch-norm folding gives a bias to a layer that had none). requires_grad stays as it was, at
  // first on.
  void set_raw(Tensor value);
  bool defined() const { return raw_.defined(); }

  // Every step of an optimizer ends within the limits; checkpoints beyond them are refused.
  const Limits& limits() const { return limits_; }
  void set_limits(const Limits& limits) { limits_ = limits; }
  void restrain();  // to the limits, where some are set; throws where a number is NaN

  const std::string& name() const { return name_; }
  Module& owner() const { return transform_.owner(); }
  std::string path() const;  // "layer1.0.conv1.weight"
  const Layout& layout() const { return layout_; }

  // Its parameters and buffers appear as "<path>_quant.<name>".
  void set_transform(ModulePtr transform) { transform_.put(std::move(transform)); }
  Module* transform() const { return transform_.get(); }
  const Child& transform_slot() const { return transform_; }

 private:
  std::string name_;
  Tensor raw_;
  Layout layout_;
  Limits limits_;
  Child transform_;
};

// State that is saved but not optimised: running statistics, tracked ranges.
class Buffer {
 public:
  Buffer(Module& owner, std::string name, Tensor initial);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  const Tensor& operator()() const { return value_; }
  void set(Tensor value) { value_ = std::move(value); }
  float item() const { return value_.item(); }
  const Limits& limits() const { return limits_; }  // checkpoints beyond them are refused
  void set_limits(const Limits& limits) { limits_ = limits; }
  const std::string& name() const { return name_; }
  std::string path() const;

 private:
  Module& owner_;
  std::string name_;
  Tensor value_;
  Limits limits_;
};

template <class M, class... A>
Child Module::child(std::string name, A&&... args) {
  return Child(*this, std::move(name), std::make_unique<M>(std::forward<A>(args)...));
}

// --- walking a model ---

// Every module, parents before children, the transforms of a module's parameters after the module itself.
void visit_modules(Module& root, const std::function<void(Module&)>& visit);
// Those that are an M.
template <class M>
void visit_modules(Module& root, const std::function<void(M&)>& visit) {
  visit_modules(root, [&](Module& module) {
    if (auto* m = dynamic_cast<M*>(&module)) visit(*m);
  });
}
std::vector<Parameter*> all_parameters(Module& root);  // defined ones, transforms' included
std::vector<Buffer*> all_buffers(Module& root);
Module* find_module(Module& root, std::string_view path);  // the outermost at that path; null when there is none

// Evaluation mode while alive; afterwards every module is in the mode it was in.
class EvaluationMode {
 public:
  explicit EvaluationMode(Module& root);
  ~EvaluationMode();
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;  // parents first, so that children have the last word
};

// The one mutation: calls f(path, module) bottom-up on every module and puts back what it returns (the module itself, a
// wrapper that owns it, or another one). Modules inside what f returned are not visited again.
using RewriteFn = std::function<ModulePtr(const std::string& path, ModulePtr module)>;
ModulePtr rewrite(ModulePtr root, const RewriteFn& f);

// An indented listing, one module a line: "  (conv1): Conv2d(3, 16, kernel=3x3)", with "-> weight: <transform>" where
// a parameter has one.
std::string to_string(Module& root);

// --- observing ---

// Sees every module call on this thread while an Observing is alive. Must not change values.
struct CallObserver {
  virtual ~CallObserver() = default;
  virtual void enter(Module&, Inputs) {}
  virtual void leave(Module& module, Inputs x, const Tensor& y) = 0;
};
class Observing {
 public:
  explicit Observing(CallObserver& observer);
  ~Observing();
  Observing(const Observing&) = delete;
  Observing& operator=(const Observing&) = delete;
};

}  // namespace qgrad
