// What puts a quantization behind a module, before a layer, or before a model. Each shares its path with what it wraps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace qgrad {

// A module whose output is quantized, by "<path>.fake_q". (Distiller range_linear.FakeQuantizationWrapper)
class FakeQuantizationWrapper final : public Module {
 public:
  FakeQuantizationWrapper(ModulePtr wrapped, ModulePtr quantization);
  std::string_view kind() const override { return "FakeQuantizationWrapper"; }

  Child wrapped;
  Child fake_q;

 protected:
  Tensor forward(Inputs x) override;
};

// A layer whose input is quantized, by "<path>.input_quant".
class InputQuantizationWrapper final : public UnaryModule {
 public:
  InputQuantizationWrapper(ModulePtr quantization, ModulePtr layer);
  std::string_view kind() const override { return "InputQuantizationWrapper"; }

  Child layer;
  Child input_quant;

 protected:
  Tensor forward(const Tensor& x) override;
};

// A model whose inputs are quantized, by "inputs_quant", "inputs_quant1", ..
class InputsQuantWrapper final : public Module {
 public:
  // A quantization for each input of the model; null: this input is handed on as it is.
  InputsQuantWrapper(ModulePtr model, std::vector<ModulePtr> quantizations);
  std::string_view kind() const override { return "InputsQuantWrapper"; }
  static std::string name_of(size_t input);  // of the child that quantizes it

 protected:
  Tensor forward(Inputs x) override;

 private:
  std::vector<std::unique_ptr<Child>> inputs_quant_;  // null for inputs that are handed on
  std::unique_ptr<Child> model_;
};

}  // namespace qgrad
