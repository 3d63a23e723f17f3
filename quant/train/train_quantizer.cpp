// Replacements and transforms by the answers of the derived class.
#include "quant/train/train_quantizer.h"

#include <algorithm>

#include "quant/wrappers.h"

namespace qgrad {
namespace {

Activation activation_of(std::string_view kind, bool in_place) {
  if (kind == "input") return {Role::input};
  if (kind == "Tanh") return {Role::any_sign, 1};
  if (kind == "Sigmoid") return {Role::positive, 1};
  if (kind == "ReLU6") return {in_place ? Role::rectified : Role::positive, 6};
  if (kind == "ReLU") return {in_place ? Role::rectified : Role::positive};
  return {};
}

}  // namespace

void TrainQuantizer::quantize_outputs_of(const QuantizedKinds& kinds) {
  const auto add = [&](const std::string& kind, bool in_place) {
    const auto make = [this, in_place, what = activation_of(kind, in_place)](const Site& site,
                                                                             ModulePtr module) -> ModulePtr {
      ModulePtr quantization = site.bits.activations ? activation(site, what, *site.bits.activations) : nullptr;
      if (!quantization) return module;
      if (in_place) return quantization;
      return std::make_unique<FakeQuantizationWrapper>(std::move(module), std::move(quantization));
    };
    replacement_factory[kind] = Replacement(make, kinds.settings);
  };
  for (const std::string& kind : kinds.behind) add(kind, false);
  for (const std::string& kind : kinds.in_place) add(kind, true);
}

ModulePtr TrainQuantizer::weight_transform(const Site& site, Parameter& parameter, int bits) {
  return weight(site, parameter, bits);
}

std::vector<ParamGroup> TrainQuantizer::param_groups(Module& model) {
  std::optional<ParamGroup> group = own_group();
  if (!group) return {};
  visit_modules(model, [&](Module& module) {
    if (dynamic_cast<Quantization*>(&module))
      std::ranges::copy_if(module.parameters(), std::back_inserter(group->parameters), &Parameter::defined);
  });
  if (group->parameters.empty()) return {};
  return {*group};
}

}  // namespace qgrad
