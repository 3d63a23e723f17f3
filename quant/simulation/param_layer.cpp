// Integer weights, biases at the accumulator's scale, and the convolution or product between them.
#include "quant/simulation/param_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {
namespace {

constexpr double kMostOfSums = 0x1p29;   // leaves room in 32 bits for what is added up on the way
constexpr double kInexactBias = 0x1p24;  // floats hold all integers up to here
constexpr double kMostUnit = 0x1p100;    // beyond, steps of sums are no normal floats

int powers_above(double value, double limit) {
  return value > limit ? static_cast<int>(std::ceil(std::log2(value / limit))) : 0;
}

double largest_integer(const Grid& m) {
  return std::max(std::fabs(double{m.qmin} + m.zero_point), std::fabs(double{m.qmax} + m.zero_point));
}

}  // namespace

RangeLinearQuantParamLayerWrapper::RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization,
                                                                     WeightQuantization weight,
                                                                     const std::optional<ChannelGrid>& grid)
    : RangeLinearQuantWrapper(std::move(layer), std::move(quantization)),
      layer_(*wrapped().weighted_sum()),
      bias_(layer_.bias),
      weight_(*this, layer_.weight, weight,
              grid ? *grid : grid_from_tensor(layer_.weight.raw(), weight.settings, Slices::output_channels)) {}

Tensor RangeLinearQuantParamLayerWrapper::dequantized_bias() const {
  return bias_.defined() ? linear_dequantize(base_bias_q(), base_bias_grid()) : Tensor();
}

QuantSettings RangeLinearQuantParamLayerWrapper::bias_settings() const {
  return {.bits = quantization().bits_accum, .mode = LinearQuantMode::symmetric};
}

ChannelGrid RangeLinearQuantParamLayerWrapper::base_bias_grid() const {
  return grid_from_tensor(bias_.raw(), bias_settings(), Slices::samples);
}

Tensor RangeLinearQuantParamLayerWrapper::base_bias_q() const { return linear_quantize(bias_.raw(), base_bias_grid()); }

std::vector<int> RangeLinearQuantParamLayerWrapper::powers_coarser(const Grid& input) const {
  const std::vector<float> scale = weight_.grid().scale;
  std::vector<float> bias(scale.size(), 0.0f);
  if (bias_.defined() && !quantization().real_sums)
    for (size_t c = 0; c < bias_.raw().data().size(); ++c) {
      float& largest = bias[c % scale.size()];
      largest = std::max(largest, std::fabs(bias_.raw().data()[c]));
    }
  const double held = std::min<double>(kMostOfSums, accumulator_range().qmax), output = largest_output();
  const int64_t terms = weight_.q().numel() / weight_.q().dim(-1);
  const double noise = std::sqrt(static_cast<double>(terms) / 12) * largest_integer(input);  // in steps of the sums
  std::vector<int> powers(scale.size());
  for (size_t c = 0; c < scale.size(); ++c) {
    const double unit = double{input.scale} * weight_.fineness() * double{scale[c]};  // steps in 1
    const double step_of_output =
        output_grid() ? 1 / double{output_grid()->scale} : double{bias[c]} * std::exp2(-quantization().output->bits);
    const auto affordable = [&](int power) { return std::ldexp(noise, power) <= step_of_output * unit; };
    const double largest = std::max<double>(bias[c], output) * unit;
    powers[c] = std::max(powers_above(largest, held), powers_above(unit, kMostUnit));
    check(powers[c] == 0 || affordable(powers[c]),
          "its sums reach {:.3g} steps of a weight times steps of the input, and {} bits hold {:.3g}; weights coarse "
          "enough to fit would have {} bits less: use fewer bits for weights or activations",
          largest, quantization().bits_accum, held, powers[c]);
    const int exact = bias[c] * unit >= kInexactBias ? powers_above(bias[c] * unit, kInexactBias / 2) : 0;
    if (exact > powers[c] && affordable(exact)) powers[c] = exact;
  }
  return powers;
}

IntegerSums RangeLinearQuantParamLayerWrapper::integer_sums(const Grid& input) const {
  const ChannelGrid grid = weight_.grid();
  const std::vector<int> powers = quantization().output ? powers_coarser(input) : std::vector<int>(grid.scale.size());
  const float fineness = weight_.fineness();
  const auto is_zero = [](auto value) { return value == 0; };
  IntegerSums sums{.weight = weight_.q()};
  if (!std::ranges::all_of(grid.zero_point, is_zero) || !std::ranges::all_of(powers, is_zero)) {
    sums.weight = weight_.q().clone();
    const std::span<float> w = sums.weight.mutable_data();
    const size_t channels = grid.scale.size();
    for (size_t i = 0; i < w.size(); ++i) {
      const size_t c = i % channels;
      w[i] = std::nearbyint(std::ldexp(fineness * (w[i] + grid.zero_point[c]), -powers[c]));
    }
  }
  for (size_t c = 0; c < grid.scale.size(); ++c) {
    const float of_weight = std::ldexp(fineness * grid.scale[c], -powers[c]), scale = input.scale * of_weight;
    sums.weight_scale.push_back(of_weight);
    sums.scale.push_back(quantization().output ? maybe_approximated(scale, output_settings()) : scale);
    if (arithmetic() == Arithmetic::onnx) sums.step.push_back(input.step() * (1 / of_weight));
  }
  if (bias_.defined() && !quantization().real_sums) sums.bias = bias_on(sums.scale, sums.step);
  return sums;
}

Tensor RangeLinearQuantParamLayerWrapper::bias_on(const std::vector<float>& scale,
                                                  const std::vector<float>& step) const {
  if (!step.empty()) {
    Tensor q = bias_.raw().clone();
    const std::span<float> b = q.mutable_data();
    for (size_t c = 0; c < b.size(); ++c) b[c] = std::nearbyint(b[c] / step[c % step.size()]);
    return q;
  }
  ChannelGrid to{scale, std::vector<float>(scale.size(), 0.0f), accumulator_range()};
  Tensor bias = bias_.raw();
  if (!quantization().output_params) {
    const ChannelGrid base = base_bias_grid();
    bias = base_bias_q();
    for (float& b : bias.mutable_data()) b += base.zero_point[0];
    for (float& s : to.scale) s = maybe_approximated(s / base.scale[0], output_settings());
  }
  return linear_quantize(bias, to);
}

Accumulator RangeLinearQuantParamLayerWrapper::accumulate(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", wrapped().kind(), x.size());
  const Grid input = input_grid(0, x[0]);
  const IntegerSums sums = integer_sums(input);
  return {run(to_integers(x[0], input, arithmetic()), sums.weight, sums.bias), sums.scale, sums.step};
}

Tensor RangeLinearQuantParamLayerWrapper::forward_float(Inputs x) {
  check(x.size() == 1, "{} takes one input, got {}", wrapped().kind(), x.size());
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
  return quantization().output && quantizes_input(0, x) ? fake_quantized(x, input_grid(0, x), arithmetic()) : x;
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
