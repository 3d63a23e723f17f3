// What puts a quantization behind a module, before a layer, or before a model. Each shares its path with what it wraps.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace qgrad {

// What follows the path of a module in that of the quantization behind it, and of the one before it.
inline constexpr std::string_view kBehind = ".fake_q", kBefore = ".input_quant";

// Where the quantization at a path stands: behind or before a module, or in its place. What quantizes a model's input
// is before it.
struct QuantizationPlace {
  std::string module;
  bool before = false;
};
QuantizationPlace place_of_quantization(std::string_view path);

// A module whose output is quantized (Distiller range_linear.FakeQuantizationWrapper), or a layer whose input is.
class QuantizationWrapper final : public Module {
 public:
  enum class Of { input, output };
  QuantizationWrapper(Of what, ModulePtr wrapped, ModulePtr quantization);
  std::string_view kind() const override { return of_input() ? "InputQuantizationWrapper" : "FakeQuantizationWrapper"; }
  bool of_input() const { return what_ == Of::input; }

 private:
  Of what_;

 public:
  Child wrapped, quantization;

 protected:
  Tensor forward(Inputs x) override;
};

// A model whose inputs are quantized, by "inputs_quant", "inputs_quant1", ..
class ModelInputsWrapper final : public Module {
 public:
  // A quantization for each input of the model; null: this input is handed on as it is.
  ModelInputsWrapper(ModulePtr model, std::vector<ModulePtr> quantizations);
  std::string_view kind() const override { return "ModelInputsWrapper"; }
  static std::string name_of(size_t input);  // of the child that quantizes it

 protected:
  Tensor forward(Inputs x) override;

 private:
  std::vector<std::unique_ptr<Child>> inputs_quant_;  // null for inputs that are handed on
  std::unique_ptr<Child> model_;
};

}  // namespace qgrad
