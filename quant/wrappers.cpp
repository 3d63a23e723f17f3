// Calling what is wrapped.
#include "quant/wrappers.h"

#include <fmt/format.h>

#include "core/error.h"

namespace qgrad {

FakeQuantizationWrapper::FakeQuantizationWrapper(ModulePtr module, ModulePtr quantization)
    : wrapped(child("", std::move(module))), fake_q(child("fake_q", std::move(quantization))) {}

Tensor FakeQuantizationWrapper::forward(Inputs x) { return fake_q(wrapped->call(x)); }

InputQuantizationWrapper::InputQuantizationWrapper(ModulePtr quantization, ModulePtr of)
    : layer(child("", std::move(of))), input_quant(child("input_quant", std::move(quantization))) {}

Tensor InputQuantizationWrapper::forward(const Tensor& x) { return layer(input_quant(x)); }

InputsQuantWrapper::InputsQuantWrapper(ModulePtr model, std::vector<ModulePtr> quantizations) {
  for (size_t i = 0; i < quantizations.size(); ++i)
    inputs_quant_.push_back(quantizations[i] ? std::make_unique<Child>(*this, name_of(i), std::move(quantizations[i]))
                                             : nullptr);
  model_ = std::make_unique<Child>(*this, "", std::move(model));
}

std::string InputsQuantWrapper::name_of(size_t input) {
  return input == 0 ? "inputs_quant" : fmt::format("inputs_quant{}", input);
}

Tensor InputsQuantWrapper::forward(Inputs x) {
  check(x.size() == inputs_quant_.size(), "the model was prepared for {} inputs, got {}", inputs_quant_.size(),
        x.size());
  std::vector<Tensor> quantized(x.begin(), x.end());
  for (size_t i = 0; i < quantized.size(); ++i)
    if (inputs_quant_[i]) quantized[i] = (*inputs_quant_[i])(x[i]);
  return (*model_)->call(quantized);
}

}  // namespace qgrad
