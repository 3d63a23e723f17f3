// Sequential.
#include "nn/layers/container.h"

namespace qgrad {

Sequential& Sequential::add(std::string name, ModulePtr module) {
  items_.emplace_back(*this, std::move(name), std::move(module));
  return *this;
}

Tensor Sequential::forward(const Tensor& x) {
  Tensor y = x;
  for (const Child& item : items_) y = item(y);
  return y;
}

}  // namespace qgrad
