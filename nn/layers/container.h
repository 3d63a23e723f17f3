// Modules made of a list of modules.
#pragma once

#include <deque>

#include "nn/module.h"

namespace qgrad {

// Runs its children one after another; they are named "0", "1", .. unless a name is given.
class Sequential final : public UnaryModule {
 public:
  Sequential() = default;
  std::string_view kind() const override { return "Sequential"; }
  Sequential& add(ModulePtr module) { return add(std::to_string(items_.size()), std::move(module)); }
  Sequential& add(std::string name, ModulePtr module);
  template <class M, class... A>
  Sequential& add(A&&... args) {
    return add(std::make_unique<M>(std::forward<A>(args)...));
  }
  size_t size() const { return items_.size(); }
  Child& operator[](size_t i) { return items_.at(i); }

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  std::deque<Child> items_;  // a deque: children never move
};

}  // namespace qgrad
