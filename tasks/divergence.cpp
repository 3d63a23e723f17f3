// Looking through gradients, and through the outputs of a call.
#include "tasks/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace qgrad {
namespace {

// Without a branch for each number.
bool all_finite(std::span<const float> numbers) {
  constexpr uint32_t kExponent = 0x7f800000;
  bool broken = false;
  for (const float x : numbers) broken |= (std::bit_cast<uint32_t>(x) & kExponent) == kExponent;
  return !broken;
}

class FirstBroken final : public CallObserver {
 public:
  void leave(Module& module, Inputs, const Tensor& y) override {
    if (name_.empty() && !all_finite(y.data()))
      name_ = fmt::format("{} ({})", module.path().empty() ? "the model" : module.path(), module.kind());
  }
  const std::string& name() const { return name_; }

 private:
  std::string name_;
};

}  // namespace

std::string broken_gradient(Module& model) {
  for (Parameter* p : all_parameters(model))
    if (const Tensor gradient = p->raw().grad(); gradient.defined() && !all_finite(gradient.data())) return p->path();
  return "";
}

std::string broken_layer(Module& model, Inputs inputs) {
  if (std::ranges::any_of(inputs, [](const Tensor& x) { return !all_finite(x.data()); })) return "the inputs";
  FirstBroken first;
  try {
    const Observing observing(first);
    model.call(inputs);
  } catch (const Error&) {  // of a module that refuses such numbers: the one before it is what is asked for
  }
  return first.name();
}

}  // namespace qgrad
