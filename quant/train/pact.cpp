// PACT (Choi et al., "PACT: Parameterized Clipping Activation for Quantized Neural Networks", 2018): activations with
// learned clips, weights as DoReFa's or SAWB's.
#include "quant/train/clipped_activation.h"
#include "quant/train/dorefa.h"
#include "quant/train/sawb.h"

namespace qgrad {
namespace {

enum class PACTWeights { of_dorefa, of_sawb };
std::vector<std::pair<std::string, PACTWeights>> enum_names(PACTWeights*) {
  return {{"DoReFa", PACTWeights::of_dorefa}, {"SAWB", PACTWeights::of_sawb}};
}

// Config: {"class": "PACTQuantizer", "bits_activations": 4, "bits_weights": 4, "act_clip_decay": 0.0001}
struct PACTConfig : QuantAwareTrainConfig {
  std::optional<float> act_clip_init_val, act_clip_decay;
  PACTWeights weights = PACTWeights::of_dorefa;
};
void fields(Fields& v, PACTConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("act_clip_init_val", c.act_clip_init_val,
    {.help = "where learned clipping values start, 8 in Distiller; null: where the first batch is quantized with the "
             "least square error",
     .min = 0.001,
     .max = 1e6});
  v("act_clip_decay", c.act_clip_decay,
    {.help = "weight decay of the clipping values; null: the optimizer's own", .min = 0, .max = 1e6});
  v("weights", c.weights, {.help = "\"DoReFa\", as in the paper, or \"SAWB\" (Choi et al. 2018)"});
}

struct ClipSettings {
  std::optional<float> act_clip_init_val;
};
void fields(Fields& v, ClipSettings& s) { v("act_clip_init_val", s.act_clip_init_val, {.min = 0.001, .max = 1e6}); }

// Clipping values are parameters "<activation>.clip_val", or "<layer>.input_quant.clip_val" where the inputs of layers
// are quantized, in the parameter group "clip_val". They start at the activation's own bound where that is lower than
// what the config says or the first batch asks for (6 for a ReLU6). Overrides of what is quantized also take
// "act_clip_init_val". (Distiller clipped_linear.PACTQuantizer)
class PACTQuantizer final : public TrainQuantizer {
 public:
  explicit PACTQuantizer(const PACTConfig& config) : TrainQuantizer(config), config_(config) {
    quantize_activations(Rectifiers::in_place, keys_of<ClipSettings>());
  }

 protected:
  std::unique_ptr<Quantization> weight(const Site&, const Parameter& parameter, int bits) override {
    if (config_.weights == PACTWeights::of_sawb && !is_bias(parameter))
      return std::make_unique<SawbQuantizeParam>(bits);
    return std::make_unique<DorefaQuantizeParam>(bits);
  }
  std::unique_ptr<Quantization> activation(const Site& site, const Activation& what, int bits) override {
    if (auto clip = clip_at_own_bound(what, bits)) return clip;
    const auto settings = site.settings_onto(ClipSettings{config_.act_clip_init_val});
    return std::make_unique<LearnedClippedLinearQuantization>(bits, ClipStart{settings.act_clip_init_val, what.largest},
                                                              what.role == Role::any_sign);
  }
  std::optional<ParamGroup> own_group() const override {
    return ParamGroup{.name = "clip_val", .parameters = {}, .weight_decay = config_.act_clip_decay};
  }

 private:
  PACTConfig config_;
};

const Registered<Quantizer, PACTQuantizer, PACTConfig> pact{
    "PACTQuantizer", "in training: activations with learned clips, weights as DoReFa's (Choi et al. 2018)"};

}  // namespace
}  // namespace qgrad
