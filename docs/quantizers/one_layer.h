// One layer and the function behind it, as a quantizer makes them: to look at what stands on the weights, and on what
// the function gives.
#pragma once

#include <memory>
#include <string_view>

#include "core/json.h"
#include "nn/module.h"
#include "quant/quantization.h"

namespace qgrad {

class OneLayer {
 public:
  // quantizer: a config of one that trains. function: ReLU, in whose place some quantizations stand; ReLU6 or Tanh,
  // behind which all of them do. Weights, [2, 2], begin with numbers between -1 and 1.
  OneLayer(const Json& quantizer, ModulePtr function);

  Quantization& weights() { return *weights_; }
  Quantization& activations() { return *activations_; }

 private:
  ModulePtr model_;
  Quantization *weights_ = nullptr, *activations_ = nullptr;
};

// Throws where it has none of that name.
Parameter& parameter_of(Module& module, std::string_view name);

}  // namespace qgrad
