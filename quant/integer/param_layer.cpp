// Integer weights, biases at the accumulator's scale, and the convolution or product between them.
#include "quant/integer/param_layer.h"

#include <algorithm>

#include "core/config.h"
#include "core/error.h"
#include "nn/conv.h"
#include "nn/linear.h"

namespace qgrad {
namespace {

Parameter& parameter_of(Module& layer, std::string_view name) {
  for (Parameter* p : layer.parameters())
    if (p->name() == name) return *p;
  fail("{}: a layer without '{}' can not be quantized as one with weights", layer.kind(), name);
}

Tensor vector_of(std::span<const float> values) {
  return Tensor::from(Shape{static_cast<int64_t>(values.size())}, values);
}

std::vector<float> values_of(const Tensor& t) { return {t.data().begin(), t.data().end()}; }

}  // namespace

RangeLinearQuantParamLayerWrapper::RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization,
                                                                     WeightQuantization weight)
    : RangeLinearQuantWrapper(std::move(layer), std::move(quantization)),
      weight_quantization_(weight),
      weight_(parameter_of(wrapped(), "weight")),
      bias_(parameter_of(wrapped(), "bias")),
      weight_scale_(buffer("w_scale", Tensor())),
      weight_zero_point_(buffer("w_zero_point", Tensor())) {
  const Tensor original = weight_.raw();
  if (weight.save_float) float_weight_.emplace(*this, "float_weight", original.clone(), weight_.layout());
  quantize_weight(original, params_from_tensor(original, weight_settings(), Slices::output_channels));
}

void RangeLinearQuantParamLayerWrapper::quantize_weight(const Tensor& weight, const LinearQuantParams& params) {
  weight_.set_raw(
      linear_quantize_clamp(weight, params, quantized_range(weight_settings().bits, weight_settings().mode)));
  weight_scale_.set(vector_of(params.scale));
  weight_zero_point_.set(vector_of(params.zero_point));
}

LinearQuantParams RangeLinearQuantParamLayerWrapper::weight_params() const {
  return {values_of(weight_scale_()), values_of(weight_zero_point_())};
}

Tensor RangeLinearQuantParamLayerWrapper::dequantized_weight() const {
  return linear_dequantize(weight_.raw(), weight_params());
}

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
  std::vector<float> scale = values_of(weight_scale_());
  for (float& s : scale) s = maybe_approximated(input.scale * s, output_settings());
  return scale;
}

Tensor RangeLinearQuantParamLayerWrapper::bias_q(std::span<const float> accumulator_scale) const {
  if (!bias_.defined()) return {};
  LinearQuantParams to{{accumulator_scale.begin(), accumulator_scale.end()},
                       std::vector<float>(accumulator_scale.size(), 0.0f)};
  Tensor bias = bias_.raw();
  if (!quantization().output_params) {
    const LinearQuantParams base = base_bias_params();
    bias = base_bias_q();
    for (float& b : bias.mutable_data()) b += base.zero_point[0];
    for (float& s : to.scale) s = maybe_approximated(s / base.scale[0], output_settings());
  }
  return linear_quantize_clamp(bias, to, quantized_range(quantization().bits_accum, LinearQuantMode::symmetric));
}

Tensor RangeLinearQuantParamLayerWrapper::shifted_weight() const {
  const LinearQuantParams params = weight_params();
  if (std::ranges::all_of(params.zero_point, [](float zero_point) { return zero_point == 0; })) return weight_.raw();
  Tensor shifted = weight_.raw().clone();
  const std::span<float> w = shifted.mutable_data();
  const size_t channels = params.zero_point.size();
  for (size_t i = 0; i < w.size(); ++i) w[i] += params.zero_point[i % channels];
  return shifted;
}

Tensor RangeLinearQuantParamLayerWrapper::run(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
  if (const auto* conv = dynamic_cast<const Conv2d*>(&wrapped()))
    return conv2d(x, weight, bias, conv->config().options);
  return linear(x, weight, bias);
}

Accumulator RangeLinearQuantParamLayerWrapper::accumulate(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  const QuantMetadata input = input_metadata(0, x[0]);
  const std::vector<float> scale = accumulator_scale(input);
  return {run(to_integers(x[0], input), shifted_weight(), bias_q(scale)), scale};
}

Tensor RangeLinearQuantParamLayerWrapper::forward_float(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", kind(), x.size());
  return run(x[0], dequantized_weight(), dequantized_bias());
}

std::vector<ValueRange> RangeLinearQuantParamLayerWrapper::weight_clipping() const {
  const LinearQuantParams params = weight_params();
  std::vector<ValueRange> ranges;
  for (size_t c = 0; c < params.scale.size(); ++c)
    ranges.push_back(
        representable_range(weight_settings().bits, weight_settings().mode, {params.scale[c], params.zero_point[c]}));
  return ranges;
}

void RangeLinearQuantParamLayerWrapper::set_weight_clipping(std::span<const ValueRange> ranges) {
  check(float_weight_.has_value(), "{}: the weights can be quantized again only with save_fp_weights", path());
  const size_t expected = static_cast<size_t>(weight_scale_().numel());
  check(ranges.size() == expected, "{}: expected {} weight ranges, got {}", path(), expected, ranges.size());
  LinearQuantParams params{{}, {}};
  for (const ValueRange& range : ranges) {
    const ScaleAndZeroPoint one =
        params_from_range(weight_settings().bits, weight_settings().mode, range.min, range.max);
    params.scale.push_back(one.scale);
    params.zero_point.push_back(one.zero_point);
  }
  quantize_weight(float_weight_->raw(), params);
}

std::string RangeLinearQuantParamLayerWrapper::describe() const {
  return fmt::format("{}; weights {} bits {}{}", RangeLinearQuantWrapper::describe(), weight_settings().bits,
                     enum_name(weight_settings().mode), weight_settings().per_channel ? " per channel" : "");
}

Json RangeLinearQuantParamLayerWrapper::quant_params() const {
  Json json = RangeLinearQuantWrapper::quant_params();
  const LinearQuantParams params = weight_params();
  Json weight = {{"bits", weight_settings().bits},
                 {"mode", enum_name(weight_settings().mode)},
                 {"clip", enum_name(weight_settings().clip)},
                 {"per_channel", weight_settings().per_channel}};
  weight["scale"] = params.per_channel() ? Json(params.scale) : Json(params.scale[0]);
  weight["zero_point"] = params.per_channel() ? Json(params.zero_point) : Json(params.zero_point[0]);
  json["weight"] = std::move(weight);
  return json;
}

}  // namespace qgrad
