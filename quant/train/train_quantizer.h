// The base of quantizers for training: which modules and parameters get a quantization, and the optimizer's group.
#pragma once

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
  float largest = Limits().high;  // magnitude that it can give: 6 of a ReLU6
};

// A quantizer for training answers two questions, and says in its constructor which outputs are quantized.
class TrainQuantizer : public Quantizer {
 public:
  // Where the quantization of a rectifier, as ReLU, stands: behind it, or in its place, as Role::rectified; of those
  // with an upper bound, as ReLU6, behind them all the same or not.
  enum class Rectifiers { behind, unbounded_in_place, in_place };

 protected:
  explicit TrainQuantizer(const QuantAwareTrainConfig& config)
      : Quantizer(config),
        bits_function_inputs_(config.bits_function_inputs),
        gradient_scaling_(config.gradient_scaling) {}
  // What functions give, and what layers read of anything else. settings: override keys that activation() reads; those
  // of numbers with both signs that have a bound on both sides, as what Tanh gives, are their own.
  void quantize_activations(Rectifiers rectifiers, std::vector<std::string> settings = {},
                            std::vector<std::string> settings_of_bounded = {});
  // What other modules give, by their kinds. "input" is the kind of the model's inputs, where the inputs of layers are
  // quantized.
  void quantize_outputs_of(const std::vector<std::string>& kinds, Role role, std::vector<std::string> settings = {});

  // What stands on a parameter; null: it stays as it is.
  virtual std::unique_ptr<Quantization> weight(const Site&, const Parameter&, int /*bits*/) { return nullptr; }
  // What stands on an activation; null: it stays as it is.
  virtual std::unique_ptr<Quantization> activation(const Site&, const Activation&, int /*bits*/) { return nullptr; }
  // The group, still empty, that gets the parameters of all quantizations; null: they are in the optimizer's own.
  virtual std::optional<ParamGroup> own_group() const { return std::nullopt; }

 private:
  const Replacement* replacement_for(const Effect& effect) const final;
  const Replacement* replacement_for_read(const Effect& effect) const final;
  std::unique_ptr<Quantization> with_settings_of_all(std::unique_ptr<Quantization> quantization) const;
  ModulePtr placed(const Site& site, ModulePtr module, const Activation& what);
  ModulePtr weight_transform(const Site& site, Parameter& parameter, int bits) final;
  std::vector<ParamGroup> param_groups(Module& model) final;

  std::optional<int> bits_function_inputs_;
  float gradient_scaling_;
  Replacement unbounded_, bounded_on_both_sides_;
};

}  // namespace qgrad
