// The learned clips and their parameter group.
#include "quant/train/pact.h"

#include <algorithm>

#include "quant/train/clipped_activation.h"
#include "quant/train/dorefa.h"

namespace qgrad {
namespace {

const Registered<Quantizer, PACTQuantizer, PACTConfig> registered{"PACTQuantizer"};

struct ClipSettings {
  float act_clip_init_val = 0;
};
template <class V>
void fields(V& v, ClipSettings& s) {
  v("act_clip_init_val", s.act_clip_init_val, {.min = 0.001, .max = 1e6});
}

}  // namespace

PACTQuantizer::PACTQuantizer(PACTConfig config) : Quantizer(config), config_(std::move(config)) {
  replacement_factory = clipped_activations(
      [this](const Site& site, float largest) {
        const auto settings = site.settings_onto(ClipSettings{config_.act_clip_init_val});
        return std::make_unique<LearnedClippedLinearQuantization>(*site.bits.activations,
                                                                  std::min(settings.act_clip_init_val, largest));
      },
      keys_of<ClipSettings>());
}

ModulePtr PACTQuantizer::weight_transform(const Site&, Parameter&, int bits) {
  return std::make_unique<DorefaQuantizeParam>(bits);
}

std::vector<ParamGroup> PACTQuantizer::param_groups(Module& model) {
  ParamGroup group{.name = "clip_val", .parameters = {}, .weight_decay = config_.act_clip_decay};
  visit_modules(model, [&](Module& module) {
    if (auto* clip = dynamic_cast<LearnedClippedLinearQuantization*>(&module))
      group.parameters.push_back(&clip->clip_val);
  });
  if (group.parameters.empty()) return {};
  return {group};
}

}  // namespace qgrad
