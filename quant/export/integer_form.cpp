// Reading integers off weights, folding, and steps that sums and biases fit.
#include "quant/export/integer_form.h"

#include <algorithm>
#include <cmath>

#include "engine/program.h"
#include "nn/layers/norm.h"
#include "quant/export/levels.h"
#include "quant/quantization.h"

namespace qgrad::deploy {
namespace {

constexpr int kLargestWeight = 255;  // of a program

// A batch norm that takes a channel's weights to less leaves its shift alone.
constexpr float kLargestScale = 0x1p100f;

std::vector<float> scales_of(const Child& transform, const Tensor& quantized) {
  const auto* quantization = transform.as<Quantization>();
  check(quantization != nullptr, "its transform, a {}, does not derive from Quantization", transform->kind());
  if (const auto grid = quantization->grid(quantized)) return grid->integer_scale();
  const auto common = common_scale(quantized.data(), kLargestWeight);
  check(common.has_value(), "the levels of its weights are no multiples of a {}th of the largest ({})", kLargestWeight,
        transform->kind());
  return {*common};
}

// The largest magnitudes that the sums of each channel and its bias can have, and the width of the output's grid, in
// steps of the sums.
struct Reach {
  std::vector<double> sums, bias, range;
};
Reach reach_of(const IntegerForm& form, const Parameter& bias, const Grid& input, const Grid& output) {
  const float largest_input = input.largest();
  const auto channels = static_cast<size_t>(form.integers.dim(-1));
  Reach reach{std::vector<double>(channels, 1), std::vector<double>(channels, 0), {}};
  const double width = (double{output.qmax} - output.qmin) * output.step();
  for (size_t c = 0; c < channels; ++c)
    reach.range.push_back(width * double{form.scale[c % form.scale.size()]} * double{input.scale});
  for (size_t i = 0; i < form.integers.data().size(); ++i)
    reach.sums[i % channels] += std::fabs(form.integers.data()[i]) * double{largest_input};
  for (size_t c = 0; bias.defined() && c < channels; ++c)
    reach.bias[c] =
        std::fabs(double{bias.raw().data()[c]}) * double{form.scale[c % form.scale.size()]} * double{input.scale};
  return reach;
}

}  // namespace

IntegerForm integer_form(const Parameter& weight) {
  const Tensor quantized = weight();
  IntegerForm form{Tensor::empty(quantized.shape()), scales_of(weight.transform_slot(), quantized)};
  const std::span<float> integers = form.integers.mutable_data();
  for (size_t i = 0; i < integers.size(); ++i) {
    const float scaled = quantized.data()[i] * form.scale[i % form.scale.size()];
    integers[i] = std::nearbyint(scaled);
    check(std::fabs(scaled - integers[i]) < 1e-2f, "its weight {} is no multiple of 1 / {}", quantized.data()[i],
          form.scale[i % form.scale.size()]);
  }
  return form;
}

ChannelMap channel_map_of(const BatchNorm& norm) {
  ChannelMap map;
  for (size_t c = 0; c < static_cast<size_t>(norm.config().features); ++c) {
    const float sigma = std::sqrt(norm.running_var().data()[c] + norm.config().eps);
    map.factor.push_back((norm.weight.defined() ? norm.weight.raw().data()[c] : 1.0f) / sigma);
    const float beta = norm.bias.defined() ? norm.bias.raw().data()[c] : 0.0f;
    map.shift.push_back(beta - map.factor[c] * norm.running_mean().data()[c]);
    check(std::isfinite(map.factor[c]) && std::isfinite(map.shift[c]),
          "{}: channel {} becomes {} times what it was, plus {}", norm.path(), c, map.factor[c], map.shift[c]);
  }
  return map;
}

void fold(IntegerForm& form, Parameter& bias, const ChannelMap& map, size_t channels, bool integers) {
  Tensor folded = Tensor::empty({static_cast<int64_t>(channels)});
  for (size_t c = 0; c < channels; ++c)
    folded.mutable_data()[c] = map.shift[c] + map.factor[c] * (bias.defined() ? bias.raw().data()[c] : 0.0f);
  bias.set_raw(folded);
  const std::span<float> w = form.integers.mutable_data();
  if (!integers) {
    for (size_t i = 0; i < w.size(); ++i) w[i] *= map.factor[i % channels];
    return;
  }
  std::vector<float> scale(channels), sign(channels);
  for (size_t c = 0; c < channels; ++c) {
    const float factor = map.factor[c], of_weight = form.scale[c % form.scale.size()];
    const bool is_silent = !(of_weight / std::fabs(factor) < kLargestScale);
    sign[c] = is_silent ? 0.0f : std::copysign(1.0f, factor);  // 0: the channel is its shift
    scale[c] = is_silent ? of_weight : of_weight / std::fabs(factor);
  }
  for (size_t i = 0; i < w.size(); ++i) w[i] *= sign[i % channels];
  form.scale = scale;
}

void coarsen_faint_channels(IntegerForm& form, const Parameter& bias, const Grid& input, const Grid& output) {
  const Reach reach = reach_of(form, bias, input, output);
  const size_t channels = reach.sums.size();
  if (form.scale.size() != channels) return;
  const auto is_faint = [&](size_t c) {
    return reach.bias[c] > std::min(std::max(256 * reach.sums[c], 0x1p20), 0x1p23);
  };
  double others = 0x1p10;
  for (size_t c = 0; c < channels; ++c)
    if (!is_faint(c)) others = std::max(others, reach.sums[c] + reach.bias[c]);
  std::vector<int> dropped(channels);
  for (size_t c = 0; c < channels; ++c) {
    if (is_faint(c)) dropped[c] = std::max(std::ilogb(reach.bias[c] / others) + 2, 0);
    if (reach.range[c] > 0x1p27) dropped[c] = std::max(dropped[c], std::ilogb(reach.range[c] / 0x1p27) + 1);
    form.scale[c] = std::ldexp(form.scale[c], -dropped[c]);
  }
  const std::span<float> integers = form.integers.mutable_data();
  for (size_t i = 0; i < integers.size(); ++i)
    integers[i] = std::nearbyint(std::ldexp(integers[i], -dropped[i % channels]));
}

void refine(IntegerForm& form, const Parameter& bias, const Grid& input, const Grid& output) {
  const Reach reach = reach_of(form, bias, input, output);
  double largest = 1;
  for (size_t c = 0; c < reach.sums.size(); ++c)
    largest = std::max({largest, reach.sums[c] + reach.bias[c], reach.range[c] / 0x1p5});
  const int bits = std::clamp(static_cast<int>(std::floor(std::log2(0x1p24 / largest))), 0, kMostSumShift);
  for (float& w : form.integers.mutable_data()) w = std::ldexp(w, bits);
  for (float& scale : form.scale) scale = std::ldexp(scale, bits);
}

}  // namespace qgrad::deploy
