// WRPN (Mishra et al., "WRPN: Wide Reduced-Precision Networks", 2017): for networks that are widened, which is a
// property of the model ("widening").
#include "quant/train/clipped_activation.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// A weight is clamped to [-1, 1] and quantized with the symmetric parameters of that range, n = (2^bits - 1) / 2; the
// gradient is 1 within [-1, 1], ends included, else 0. (Distiller clipped_linear.WRPNQuantizer)
class WRPNQuantizeParam final : public Quantization {
 public:
  explicit WRPNQuantizeParam(int bits) : Quantization(bits) { symmetric_grid(bits, 1, false); }  // checks the bits
  std::string_view kind() const override { return "WRPNQuantizeParam"; }
  std::string describe() const override { return fmt::format("bits={}", own_bits()); }

 protected:
  Tensor quantized(const Tensor& parameter) override {
    if (!bits()) return parameter;
    return linear_quantize_ste(parameter, symmetric_grid(*bits(), 1, /*restricted=*/false),
                               {.saturation = ValueRange{-1, 1}});
  }
};

// Config: {"class": "WRPNQuantizer", "bits_activations": 8, "bits_weights": 4}
// Activations are clipped to [0, act_clip_val]. One bit of weights would leave only zeros and is refused.
class WRPNQuantizer final : public FixedClipQuantizer {
 public:
  explicit WRPNQuantizer(const FixedClipConfig& config) : FixedClipQuantizer(config) {}

 protected:
  std::unique_ptr<Quantization> weight(const Site&, const Parameter& parameter, int bits) override {
    check(bits > 1, "WRPNQuantizer: {}: 1 bit would leave only zeros, expected 2 bits or more (DorefaQuantizer has 1)",
          parameter.path());
    return std::make_unique<WRPNQuantizeParam>(bits);
  }
};

const Registered<Quantizer, WRPNQuantizer, FixedClipConfig> wrpn{
    "WRPNQuantizer", "in training: for networks that are widened (Mishra et al. 2018)"};

}  // namespace
}  // namespace qgrad
