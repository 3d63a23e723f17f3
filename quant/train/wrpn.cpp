// The quantizer, and its weights.
#include "quant/train/wrpn.h"

#include "quant/train/clipped_activation.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// Config: {"class": "WRPNQuantizer", "bits_activations": 8, "bits_weights": 4}
// Activations are clipped to [0, act_clip_val]. One bit of weights would leave only zeros and is refused. Widening is a
// property of the model ("widening").
class WRPNQuantizer final : public FixedClipQuantizer {
 public:
  explicit WRPNQuantizer(const FixedClipConfig& config) : FixedClipQuantizer(config) {}

 protected:
  std::unique_ptr<Quantization> weight(const Site&, const Parameter& parameter, int bits) override {
    check(bits > 1, "WRPNQuantizer: {}: 1 bit would leave only zeros, expected 2 bits or more (DorefaQuantizer has 1)",
          parameter.path());
    return std::make_unique<WRPNQuantizeParam>(WRPNQuantizeParam::Config{.bits = bits});
  }
};

const Registered<Quantizer, WRPNQuantizer, FixedClipConfig> wrpn{
    "WRPNQuantizer", "in training: for networks that are widened (Mishra et al. 2018)"};

}  // namespace

WRPNQuantizeParam::WRPNQuantizeParam(const Config& config) : Quantization(config.bits), config_(config) {
  check(config.bits > 1 && config.bits <= 32, "WRPN weights: expected 2 to 32 bits, got {}", config.bits);
}

std::string WRPNQuantizeParam::describe() const {
  return fmt::format("bits={}{}", config_.bits, config_.clamp_integers ? "" : ", unclamped");
}

Tensor WRPNQuantizeParam::quantized(const Tensor& parameter) {
  if (!bits()) return parameter;
  ChannelGrid grid = symmetric_grid(*bits(), 1, /*restricted=*/false);
  if (!config_.clamp_integers) grid.integers = {};
  return linear_quantize_ste(parameter, grid, {.saturation = ValueRange{-1, 1}});
}

}  // namespace qgrad
