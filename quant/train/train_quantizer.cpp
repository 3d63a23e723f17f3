// Replacements and transforms by the answers of the derived class.
#include "quant/train/train_quantizer.h"

#include <algorithm>

#include "quant/train/fake_quant.h"
#include "quant/wrappers.h"

namespace qgrad {

void TrainQuantizer::quantize_activations(Rectifiers rectifiers, std::vector<std::string> settings,
                                          std::vector<std::string> settings_of_bounded) {
  const auto make = [this, rectifiers](const Site& site, ModulePtr module) {
    const Effect& effect = site.activation;
    const bool in_place = effect.is_rectifier() && (rectifiers == Rectifiers::in_place ||
                                                    (rectifiers == Rectifiers::unbounded_in_place && !effect.cap()));
    const Role role = in_place ? Role::rectified : effect.gives.low < 0 ? Role::any_sign : Role::positive;
    return placed(site, std::move(module), {role, std::max(-effect.gives.low, effect.gives.high)});
  };
  unbounded_ = Replacement(make, std::move(settings));
  bounded_on_both_sides_ = Replacement(make, std::move(settings_of_bounded));
}

void TrainQuantizer::quantize_outputs_of(const std::vector<std::string>& kinds, Role role,
                                         std::vector<std::string> settings) {
  const auto make = [this, role](const Site& site, ModulePtr module) {
    return placed(site, std::move(module), {role});
  };
  for (const std::string& kind : kinds) replacement_factory[kind] = Replacement(make, settings);
}

const Replacement* TrainQuantizer::replacement_for(const Effect& effect) const {
  return effect.kind == Effect::Kind::applies ? replacement_for_read(effect) : nullptr;
}

const Replacement* TrainQuantizer::replacement_for_read(const Effect& effect) const {
  const bool both_sides = effect.gives.low < 0 && effect.gives.low > Limits().low && effect.cap();
  return both_sides ? &bounded_on_both_sides_ : &unbounded_;
}

std::unique_ptr<Quantization> TrainQuantizer::with_settings_of_all(std::unique_ptr<Quantization> quantization) const {
  if (quantization) quantization->set_gradient_scaling(gradient_scaling_);
  return quantization;
}

ModulePtr TrainQuantizer::placed(const Site& site, ModulePtr module, const Activation& what) {
  ModulePtr quantization =
      site.bits.activations ? with_settings_of_all(activation(site, what, *site.bits.activations)) : nullptr;
  if (!quantization) return module;
  if (what.role == Role::rectified) return quantization;
  const Effect function = module->effect();
  module = std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::output, std::move(module),
                                                 std::move(quantization));
  if (function.kind != Effect::Kind::applies || function.clamps || !bits_function_inputs_) return module;
  return std::make_unique<QuantizationWrapper>(
      QuantizationWrapper::Of::input, std::move(module),
      std::make_unique<FakeLinearQuantization>(
          FakeQuantConfig{.bits = *bits_function_inputs_, .mode = LinearQuantMode::asymmetric_unsigned}));
}

ModulePtr TrainQuantizer::weight_transform(const Site& site, Parameter& parameter, int bits) {
  return with_settings_of_all(weight(site, parameter, bits));
}

std::vector<ParamGroup> TrainQuantizer::param_groups(Module& model) {
  std::optional<ParamGroup> group = own_group();
  if (!group) return {};
  visit_modules<Quantization>(model, [&](Quantization& quantization) {
    std::ranges::copy_if(quantization.parameters(), std::back_inserter(group->parameters), &Parameter::defined);
  });
  if (group->parameters.empty()) return {};
  return {*group};
}

}  // namespace qgrad
