// Integer weights, biases at the accumulator's scale, and the convolution or product between them.
#include "quant/integer/param_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {

RangeLinearQuantParamLayerWrapper::RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization,
                                                                     WeightQuantization weight,
                                                                     const std::optional<LinearQuantParams>& params)
    : RangeLinearQuantWrapper(std::move(layer), std::move(quantization)),
      bias_(layer_parameters(wrapped()).bias),
      weight_(*this, layer_parameters(wrapped()).weight, weight,
              params ? *params
                     : params_from_tensor(layer_parameters(wrapped()).weight.raw(), weight.settings,
                                          Slices::output_channels)) {}

Tensor RangeLinearQuantParamLayerWrapper::dequantized_bias() const {
  return bias_.defined() ? linear_dequantize(base_bias_q(), base_bias_params()) : Tensor();
}

QuantSettings RangeLinearQuantParamLayerWrapper::bias_settings() const {
  return {.bits = quantization().bits_accum, .mode = LinearQuantMode::symmetric};
}

LinearQuantParams RangeLinearQuantParamLayerWrapper::base_bias_params() const {
  return params_from_tensor(bias_.raw(), bias_settings(), Slices::samples);
}

Tensor RangeLinearQuantParamLayerWrapper::base_bias_q() const {
  return linear_quantize_clamp(bias_.raw(), base_bias_params(),
                               quantized_range(bias_settings().bits, bias_settings().mode));
}

std::vector<float> RangeLinearQuantParamLayerWrapper::accumulator_scale(const QuantMetadata& input) const {
  std::vector<float> scale = weight_.params().scale;
  for (float& s : scale) {
    s = input.scale * s;
    if (quantization().output) s = maybe_approximated(s, output_settings());
  }
  return scale;
}

std::vector<float> RangeLinearQuantParamLayerWrapper::accumulator_step(const QuantMetadata& input) const {
  if (rounding() != Rounding::onnx) return {};
  std::vector<float> step;
  for (const float scale : weight_.params().scale) step.push_back(step_of(input.scale) * step_of(scale));
  return step;
}

Tensor RangeLinearQuantParamLayerWrapper::bias_q(const QuantMetadata& input) const {
  if (!bias_.defined() || quantization().real_sums) return {};
  const QuantizedRange range = quantized_range(quantization().bits_accum, LinearQuantMode::symmetric);
  if (const std::vector<float> step = accumulator_step(input); !step.empty()) {
    Tensor q = bias_.raw().clone();
    const std::span<float> b = q.mutable_data();
    for (size_t c = 0; c < b.size(); ++c)
      b[c] = std::clamp(std::nearbyint(b[c] / step[c % step.size()]), range.qmin, range.qmax);
    return q;
  }
  LinearQuantParams to{accumulator_scale(input), {}};
  to.zero_point.assign(to.scale.size(), 0.0f);
  Tensor bias = bias_.raw();
  if (!quantization().output_params) {
    const LinearQuantParams base = base_bias_params();
    bias = base_bias_q();
    for (float& b : bias.mutable_data()) b += base.zero_point[0];
    for (float& s : to.scale) s = maybe_approximated(s / base.scale[0], output_settings());
  }
  return linear_quantize_clamp(bias, to, range);
}

Tensor RangeLinearQuantParamLayerWrapper::shifted_weight() const {
  const LinearQuantParams params = weight_.params();
  if (std::ranges::all_of(params.zero_point, [](float zero_point) { return zero_point == 0; })) return weight_.q();
  Tensor shifted = weight_.q().clone();
  const std::span<float> w = shifted.mutable_data();
  const size_t channels = params.zero_point.size();
  for (size_t i = 0; i < w.size(); ++i) w[i] += params.zero_point[i % channels];
  return shifted;
}

Accumulator RangeLinearQuantParamLayerWrapper::accumulate(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  const QuantMetadata input = input_metadata(0, x[0]);
  return {run(to_integers(x[0], input, rounding()), shifted_weight(), bias_q(input)), accumulator_scale(input),
          accumulator_step(input)};
}

Tensor RangeLinearQuantParamLayerWrapper::forward_float(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  return run(x[0], weight_.dequantized(), dequantized_bias());
}

std::vector<QuantParamSlot> RangeLinearQuantParamLayerWrapper::quant_param_slots() {
  std::vector<QuantParamSlot> slots = RangeLinearQuantWrapper::quant_param_slots();
  slots.push_back(weight_.slot());
  return slots;
}

Tensor RangeLinearQuantParamLayerWrapper::sums(const Tensor& x) {
  if (!quantization().output) return forward_float(std::span(&x, 1));
  const float infinity = std::numeric_limits<float>::infinity();
  return to_real(accumulate(std::span(&x, 1)), {.range = {-infinity, infinity}});
}

Tensor RangeLinearQuantParamLayerWrapper::as_computed_on(const Tensor& x) const {
  return quantization().output && !x.quant_metadata() ? fake_quantized(x, input_metadata(0, x), rounding()) : x;
}

void RangeLinearQuantParamLayerWrapper::set_bias(Tensor bias) {
  check(bias_.defined() && bias.shape() == bias_.raw().shape(), "{}: expected a bias of shape {}, got {}", path(),
        bias_.defined() ? bias_.raw().shape() : Shape{}, bias.shape());
  bias_.set_raw(std::move(bias));
}

std::string RangeLinearQuantParamLayerWrapper::describe() const {
  const QuantSettings& settings = weight_.settings();
  return fmt::format("{}; weights {} bits {}{}", RangeLinearQuantWrapper::describe(), settings.bits,
                     enum_name(settings.mode), settings.per_channel ? " per channel" : "");
}

Json RangeLinearQuantParamLayerWrapper::quant_params() const {
  Json json = RangeLinearQuantWrapper::quant_params();
  json["weight"] = weight_.quant_params();
  return json;
}

}  // namespace qgrad
