// Inputs, accumulator, output: the steps that all wrapped layers share.
#include "quant/simulation/wrapper.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"
#include "core/ops.h"

namespace qgrad {
namespace {

Json json_of(const Grid& m) {
  return {{"scale", m.scale}, {"zero_point", m.zero_point}, {"qmin", m.qmin}, {"qmax", m.qmax}};
}

Json json_of(const QuantSettings& s) {
  Json json = {{"bits", s.bits}, {"mode", enum_name(s.mode)}, {"clip", enum_name(s.clip)}};
  if (s.n_stds) json["clip_n_stds"] = *s.n_stds;
  if (s.percentile) json["clip_percentile"] = *s.percentile;
  if (s.half_range) json["half_range"] = true;
  if (s.scale_approx_mult_bits) json["scale_approx_mult_bits"] = *s.scale_approx_mult_bits;
  return json;
}

}  // namespace

float maybe_approximated(float scale, const QuantSettings& settings) {
  return settings.scale_approx_mult_bits ? approximate_scale(scale, *settings.scale_approx_mult_bits).value() : scale;
}

RangeLinearQuantWrapper::RangeLinearQuantWrapper(ModulePtr wrapped, LayerQuantization quantization)
    : quantization_(std::move(quantization)), wrapped_(*this, "", std::move(wrapped)) {
  if (const auto& output = quantization_.output_params) {
    output_scale_.emplace(*this, "output_scale", Tensor::scalar(output->scale));
    output_zero_point_.emplace(*this, "output_zero_point", Tensor::scalar(output->zero_point));
  }
  const std::vector<InputQuantization>& inputs = quantization_.inputs;
  if (inputs.empty() || !std::ranges::all_of(inputs, [](const InputQuantization& i) { return i.params.has_value(); }))
    return;
  std::vector<float> scale, zero_point;
  for (const InputQuantization& input : inputs) {
    scale.push_back(input.params->scale);
    zero_point.push_back(input.params->zero_point);
  }
  const Shape shape{static_cast<int64_t>(inputs.size())};
  inputs_scale_.emplace(*this, "inputs_scale", Tensor::from(shape, scale));
  inputs_zero_point_.emplace(*this, "inputs_zero_point", Tensor::from(shape, zero_point));
}

std::string RangeLinearQuantWrapper::describe() const {
  if (!quantization_.output) return "float activations";
  std::string text = fmt::format("{} bits {}", output_settings().bits, enum_name(output_settings().mode));
  if (const auto output = output_grid())
    text += fmt::format(", scale={:g}, zero_point={:g}", output->scale, output->zero_point);
  if (quantization_.relu) text += ", with " + relu_name();
  return text;
}

std::string RangeLinearQuantWrapper::relu_name() const {
  return quantization_.relu_cap ? fmt::format("ReLU{:g}", *quantization_.relu_cap) : "ReLU";
}

std::optional<Grid> RangeLinearQuantWrapper::output_grid() const {
  if (!output_scale_) return std::nullopt;
  return grid_of({output_scale_->item(), output_zero_point_->item()}, output_settings());
}

Grid RangeLinearQuantWrapper::input_grid(size_t i, const Tensor& x) const {
  check(i < quantization_.inputs.size(), "{}: quantization is known for {} inputs, got input {}", wrapped_->kind(),
        quantization_.inputs.size(), i);
  const InputQuantization& input = quantization_.inputs[i];
  if (input.requantized) return own_input_grid(i, x);
  if (x.grid()) {
    check(!input.overridden, "{}: input_overrides give settings for input {}, which is quantized already",
          wrapped_->kind(), i);
    return *x.grid();
  }
  check(
      input.allowed,
      "{}: input {} is not quantized; turn inputs_quant_auto_fallback on, give input_overrides for it, or quantize the "
      "layer before",
      wrapped_->kind(), i);
  return own_input_grid(i, x);
}

bool RangeLinearQuantWrapper::quantizes_input(size_t i, const Tensor& x) const {
  return i < quantization_.inputs.size() && (!x.grid() || quantization_.inputs[i].requantized);
}

Grid RangeLinearQuantWrapper::own_input_grid(size_t i, const Tensor& x) const {
  const InputQuantization& input = quantization_.inputs.at(i);
  if (inputs_scale_) {
    return grid_of({(*inputs_scale_)().data()[i], (*inputs_zero_point_)().data()[i]}, input.settings);
  }
  return grid_from_tensor(x, input.settings, Slices::samples).channel(0);
}

Tensor RangeLinearQuantWrapper::on_own_grid(size_t i, const Tensor& x) const {
  if (i >= quantization_.inputs.size()) return x;
  const Grid grid = own_input_grid(i, x);
  Tensor quantized = fake_quantized(x, grid, arithmetic());
  quantized.set_grid(grid);
  return quantized;
}

Tensor RangeLinearQuantWrapper::activated(const Tensor& y) const {
  if (!quantization_.relu) return y;
  return quantization_.relu_cap ? clamp(y, 0, *quantization_.relu_cap) : relu(y);
}

std::vector<QuantParamSlot> RangeLinearQuantWrapper::quant_param_slots() {
  std::vector<QuantParamSlot> slots;
  // Value i of a pair of buffers.
  const auto add = [&](const std::string& prefix, const QuantSettings& settings, bool free, Buffer& scale,
                       Buffer& zero_point, size_t i) {
    const auto set_value = [i](Buffer& buffer, float value) {
      Tensor changed = buffer().clone();
      changed.mutable_data()[i] = value;
      buffer.set(std::move(changed));
    };
    slots.push_back({.scale = prefix + "_scale",
                     .zero_point = prefix + "_zero_point",
                     .clipping = prefix + "_clipping",
                     .settings = settings,
                     .free = free,
                     .get =
                         [&scale, &zero_point, i, settings] {
                           return ChannelGrid(grid_of({scale().data()[i], zero_point().data()[i]}, settings));
                         },
                     .set =
                         [&scale, &zero_point, set_value](const ChannelGrid& grid) {
                           set_value(scale, grid.scale[0]);
                           set_value(zero_point, grid.zero_point[0]);
                         }});
  };
  if (output_scale_) add("output", output_settings(), true, *output_scale_, *output_zero_point_, 0);
  if (inputs_scale_)
    for (size_t i = 0; i < quantization_.inputs.size(); ++i)
      add(fmt::format("input{}", i), quantization_.inputs[i].settings, false, *inputs_scale_, *inputs_zero_point_, i);
  return slots;
}

Tensor RangeLinearQuantWrapper::forward(Inputs x) {
  if (stand_in_) return stand_in_(x);
  check(!training(), "{}: a layer quantized after training can not be trained; switch the model to evaluation",
        wrapped_->kind());
  const AccumulatorLimits limits{accumulator_range(), quantization_.relu, quantization_.relu_cap};
  if (!quantization_.output) {
    if (quantization_.real_sums) return to_real(accumulate(x), limits, real_bias());
    const Accumulator result{forward_float(x), {1.0f}, {}, true};
    return quantization_.relu ? to_real(result, limits) : result.values;
  }
  Accumulator accumulator = accumulate(x);
  check_holds(accumulator, limits);
  std::optional<Grid> output = output_grid();
  if (!output) output = grid_from_tensor(to_real(accumulator, limits), output_settings(), Slices::samples).channel(0);
  const Rescale to = rescale(output->scale, accumulator);
  return requantized(std::move(accumulator), limits, to, *output, arithmetic());
}

double RangeLinearQuantWrapper::largest_output() const {
  const std::optional<Grid> output = output_grid();
  if (!output) return 0;
  const double low = (double{output->qmin} + output->zero_point) / output->scale,
               high = (double{output->qmax} + output->zero_point) / output->scale;
  return std::max(std::fabs(high), quantization_.relu ? 0.0 : std::fabs(low));
}

void RangeLinearQuantWrapper::check_holds(const Accumulator& accumulator, const AccumulatorLimits& limits) const {
  double largest = 0;
  if (output_grid()) {
    for (const float scale : accumulator.scale) largest = std::max(largest, largest_output() * double{scale});
  } else {
    const ValueRange sums = tensor_min_max(accumulator.values);
    largest = quantization_.relu ? sums.max : sums.max_abs();
  }
  check(largest <= double{limits.range.qmax} + 1,
        "{}: its sums reach {:.3g}, and its accumulators of {} bits hold {:.3g}: use fewer bits for what it multiplies",
        wrapped_->kind(), largest, quantization_.bits_accum, limits.range.qmax);
}

Tensor RangeLinearQuantWrapper::forward_float(Inputs x) { return wrapped_->call(x); }

Rescale RangeLinearQuantWrapper::rescale(float output_scale, const Accumulator& accumulator) const {
  Rescale to;
  if (arithmetic() == Arithmetic::onnx) {
    const float output_step = 1 / output_scale;
    for (const float step : accumulator.step) to.factor.push_back(step / output_step);
    return accumulator.step.empty() ? Rescale{{1.0f}, output_step} : to;
  }
  for (const float scale : accumulator.scale)
    to.factor.push_back(maybe_approximated(output_scale / scale, output_settings()));
  return to;
}

QuantizedRange RangeLinearQuantWrapper::accumulator_range() const {
  if (quantization_.output) return quantized_range(quantization_.bits_accum, LinearQuantMode::symmetric);
  return {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};
}

Json RangeLinearQuantWrapper::quant_params() const {
  Json json = {{"class", kind()}, {"layer", wrapped_->kind()}};
  if (!quantization_.output) {
    json["output"] = nullptr;
  } else {
    json["output"] = json_of(output_settings());
    if (const auto output = output_grid()) json["output"].update(json_of(*output));
    json["bits_accum"] = quantization_.bits_accum;
  }
  Json inputs = Json::array();
  for (size_t i = 0; i < quantization_.inputs.size(); ++i) {
    const InputQuantization& input = quantization_.inputs[i];
    Json entry = json_of(input.settings);
    if (inputs_scale_)
      entry.update(json_of(grid_of({(*inputs_scale_)().data()[i], (*inputs_zero_point_)().data()[i]}, input.settings)));
    if (input.overridden) entry["overridden"] = true;
    if (input.requantized) entry["requantized"] = true;
    if (input.shared) entry["shared"] = true;
    if (!input.allowed) entry = nullptr;
    inputs.push_back(std::move(entry));
  }
  json["inputs"] = std::move(inputs);
  if (quantization_.relu) json["relu"] = relu_name();
  return json;
}

}  // namespace qgrad
