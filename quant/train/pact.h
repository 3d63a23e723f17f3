// PACT (Choi et al., "PACT: Parameterized Clipping Activation for Quantized Neural Networks", 2018): activations with
// learned clips, weights as DoReFa's.
#pragma once

#include "quant/quantizer.h"

namespace qgrad {

// Config: {"class": "PACTQuantizer", "bits_activations": 4, "bits_weights": 4, "act_clip_decay": 0.0001}
struct PACTConfig : QuantAwareTrainConfig {
  float act_clip_init_val = 8;
  std::optional<float> act_clip_decay;
};
template <class V>
void fields(V& v, PACTConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("act_clip_init_val", c.act_clip_init_val,
    {.help = "where learned clipping values start", .min = 0.001, .max = 1e6});
  v("act_clip_decay", c.act_clip_decay,
    {.help = "weight decay of the clipping values; null: the optimizer's own", .min = 0, .max = 1e6});
}

// Clipping values are parameters "<activation>.clip_val", or "<layer>.input_quant.clip_val" where the inputs of layers
// are quantized, in the parameter group "clip_val". They start at act_clip_init_val, or at the activation's own bound
// where that is lower (6 for a ReLU6). Overrides of what is quantized also take "act_clip_init_val".
// (Distiller clipped_linear.PACTQuantizer)
class PACTQuantizer final : public Quantizer {
 public:
  explicit PACTQuantizer(PACTConfig config);

 protected:
  ModulePtr weight_transform(const Site& site, Parameter& parameter, int bits) override;
  std::vector<ParamGroup> param_groups(Module& model) override;

 private:
  PACTConfig config_;
};

}  // namespace qgrad
