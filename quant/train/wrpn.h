// WRPN (Mishra et al., "WRPN: Wide Reduced-Precision Networks", 2017): weights clipped to [-1, 1], activations to
// [0, 1] (or to [0, act_clip_val]).
#pragma once

#include "quant/quantization.h"
#include "quant/quantizer.h"
#include "quant/train/clipped_activation.h"

namespace qgrad {

// Config: {"class": "WRPNQuantizer", "bits_activations": 8, "bits_weights": 4}
struct WRPNConfig : FixedClipConfig {
  bool clamp_integers = true;
};
template <class V>
void fields(V& v, WRPNConfig& c) {
  fields(v, static_cast<FixedClipConfig&>(c));
  v("clamp_integers", c.clamp_integers,
    {.help = "false: allow the one level beyond the integer range that Distiller has"});
}

// Weights are clamped to [-1, 1] and quantized with the symmetric parameters of that range, n = (2^bits - 1) / 2; the
// gradient is 1 within [-1, 1], ends included, else 0. One bit would leave only zeros and is refused. Widening is a
// property of the model ("widening"). (Distiller clipped_linear.WRPNQuantizer)
class WRPNQuantizer final : public Quantizer {
 public:
  explicit WRPNQuantizer(WRPNConfig config);

 protected:
  ModulePtr weight_transform(const Site& site, Parameter& parameter, int bits) override;

 private:
  WRPNConfig config_;
};

class WRPNQuantizeParam final : public Quantization {
 public:
  struct Config {
    int bits = 8;
    bool clamp_integers = true;  // see SteOptions::integers
  };
  explicit WRPNQuantizeParam(const Config& config);
  std::string_view kind() const override { return "WRPNQuantizeParam"; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& parameter) override;

 private:
  Config config_;
};

}  // namespace qgrad
