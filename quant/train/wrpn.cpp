// What is clipped, and the weights.
#include "quant/train/wrpn.h"

#include "quant/train/ste.h"

namespace qgrad {
namespace {

const Registered<Quantizer, WRPNQuantizer, WRPNConfig> registered{"WRPNQuantizer"};

}  // namespace

WRPNQuantizer::WRPNQuantizer(WRPNConfig config) : Quantizer(config), config_(std::move(config)) {
  replacement_factory = fixed_clips(config_.act_clip_val);
}

ModulePtr WRPNQuantizer::weight_transform(const Site&, Parameter& parameter, int bits) {
  check(bits > 1, "WRPNQuantizer: {}: 1 bit would leave only zeros, expected 2 bits or more (DorefaQuantizer has 1)",
        parameter.path());
  return std::make_unique<WRPNQuantizeParam>(
      WRPNQuantizeParam::Config{.bits = bits, .clamp_integers = config_.clamp_integers});
}

WRPNQuantizeParam::WRPNQuantizeParam(const Config& config) : Quantization(config.bits), config_(config) {
  check(config.bits > 1 && config.bits <= 32, "WRPN weights: expected 2 to 32 bits, got {}", config.bits);
}

std::string WRPNQuantizeParam::describe() const {
  return fmt::format("bits={}{}", config_.bits, config_.clamp_integers ? "" : ", unclamped");
}

Tensor WRPNQuantizeParam::forward(const Tensor& parameter) {
  if (!bits()) return parameter;
  const ScaleAndZeroPoint grid = symmetric_params(*bits(), 1, /*restricted=*/false);
  SteOptions options{.saturation = ValueRange{-1, 1}};
  if (config_.clamp_integers) options.integers = quantized_range(*bits(), LinearQuantMode::symmetric);
  return linear_quantize_ste(parameter, {{grid.scale}, {grid.zero_point}}, options);
}

}  // namespace qgrad
