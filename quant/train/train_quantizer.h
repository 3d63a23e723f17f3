// The base of quantizers for training: which modules and parameters get a quantization, and the optimizer's group.
#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quant/quantization.h"
#include "quant/quantizer.h"

namespace qgrad {

// An activation whose numbers are quantized.
struct Activation {
  Role role = Role::any_sign;
  float largest = std::numeric_limits<float>::infinity();  // that it can give: 6 of a ReLU6
};

// A quantizer for training answers two questions, and says in its constructor which modules' outputs are quantized.
class TrainQuantizer : public Quantizer {
 public:
  // By their kinds. "input" is the kind of the model's inputs, where the inputs of layers are quantized.
  struct QuantizedKinds {
    std::vector<std::string> behind;    // a quantization comes behind the module
    std::vector<std::string> in_place;  // or takes its place, as Role::rectified: ReLU and ReLU6
    std::vector<std::string> settings;  // override keys that activation() reads
  };

 protected:
  explicit TrainQuantizer(const QuantAwareTrainConfig& config) : Quantizer(config) {}
  void quantize_outputs_of(const QuantizedKinds& kinds);

  // What stands on a parameter of a module of weight_kinds; null: it stays as it is.
  virtual std::unique_ptr<Quantization> weight(const Site&, const Parameter&, int /*bits*/) { return nullptr; }
  // What stands on an activation; null: it stays as it is.
  virtual std::unique_ptr<Quantization> activation(const Site&, const Activation&, int /*bits*/) { return nullptr; }
  // The group, still empty, that gets the parameters of all quantizations; null: they are in the optimizer's own.
  virtual std::optional<ParamGroup> own_group() const { return std::nullopt; }

 private:
  ModulePtr weight_transform(const Site& site, Parameter& parameter, int bits) final;
  std::vector<ParamGroup> param_groups(Module& model) final;
};

}  // namespace qgrad
