// Calling what is wrapped.
#include "quant/wrappers.h"

#include <fmt/format.h>

#include "core/error.h"

namespace qgrad {

namespace {
constexpr std::string_view kOfModel = "inputs_quant";
}  // namespace

QuantizationPlace place_of_quantization(std::string_view path) {
  const auto less = [&](std::string_view suffix) { return std::string(path.substr(0, path.size() - suffix.size())); };
  if (path.ends_with(kBehind)) return place_of_quantization(less(kBehind));  // inputs may be wrapped, too
  if (path.ends_with(kBefore)) return {less(kBefore), true};
  return {std::string(path), path.starts_with(kOfModel)};
}

QuantizationWrapper::QuantizationWrapper(Of what, ModulePtr module, ModulePtr by)
    : what_(what),
      wrapped(child("", std::move(module))),
      quantization(child(std::string((of_input() ? kBefore : kBehind).substr(1)), std::move(by))) {}

Tensor QuantizationWrapper::forward(Inputs x) {
  if (!of_input()) return quantization(wrapped->call(x));
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  return wrapped(quantization(x[0]));
}

ModelInputsWrapper::ModelInputsWrapper(ModulePtr model, std::vector<ModulePtr> quantizations) {
  for (size_t i = 0; i < quantizations.size(); ++i)
    inputs_quant_.push_back(quantizations[i] ? std::make_unique<Child>(*this, name_of(i), std::move(quantizations[i]))
                                             : nullptr);
  model_ = std::make_unique<Child>(*this, "", std::move(model));
}

std::string ModelInputsWrapper::name_of(size_t input) {
  return input == 0 ? std::string(kOfModel) : fmt::format("{}{}", kOfModel, input);
}

Tensor ModelInputsWrapper::forward(Inputs x) {
  check(x.size() == inputs_quant_.size(), "the model was prepared for {} inputs, got {}", inputs_quant_.size(),
        x.size());
  std::vector<Tensor> quantized(x.begin(), x.end());
  for (size_t i = 0; i < quantized.size(); ++i)
    if (inputs_quant_[i]) quantized[i] = (*inputs_quant_[i])(x[i]);
  return (*model_)->call(quantized);
}

}  // namespace qgrad
