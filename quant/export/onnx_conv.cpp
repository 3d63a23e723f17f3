// Weights in ONNX's order, and the nodes around them.
#include "quant/export/onnx_conv.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace qgrad::deploy {
namespace {

std::vector<OnnxModel::Attribute> conv_attributes(const OnnxWriter& to, const Op& op) {
  const Window& w = op.window;
  auto attributes = to.window_attributes(op);
  attributes.emplace_back("dilations", std::vector<int64_t>{w.dilation_h, w.dilation_w});
  attributes.emplace_back("group", int64_t{w.groups});
  return attributes;
}

// [kh,kw,in/groups,out] as [out,in/groups,kh,kw].
template <class T, class From>
std::vector<T> output_channels_first(const std::vector<From>& weight, const Window& w, size_t out) {
  const size_t taps = static_cast<size_t>(w.kernel_h) * static_cast<size_t>(w.kernel_w);
  const size_t in = weight.size() / out / taps;
  std::vector<T> result;
  result.reserve(weight.size());
  for (size_t o = 0; o < out; ++o)
    for (size_t i = 0; i < in; ++i)
      for (size_t tap = 0; tap < taps; ++tap) result.push_back(narrow<T>(weight[(tap * in + i) * out + o], "weight"));
  return result;
}

std::vector<int64_t> weight_dims(const Op& op, size_t out) {
  const Window& w = op.window;
  const size_t count = std::max(op.weight.size(), op.real_weight.size());
  return {static_cast<int64_t>(out), static_cast<int64_t>(count / out) / (w.kernel_h * w.kernel_w), w.kernel_h,
          w.kernel_w};
}

// Real weights or biases: one step, or one for each of the channels, which come first.
template <class T>
std::string per_channel(OnnxModel& model, const std::string& result, const std::string& integers,
                        const std::vector<float>& steps, T zero_point) {
  const auto count = static_cast<int64_t>(steps.size());
  const std::vector<int64_t> dims = count == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{count};
  const std::vector<T> zero_points(steps.size(), zero_point);
  return model.node("DequantizeLinear",
                    {integers, model.constant<float>(result + "/step", dims, steps),
                     model.constant<T>(result + "/zero_point", dims, zero_points)},
                    result, {{"axis", int64_t{0}}});
}

// In QDQ form, with the weights, times 2^sum_shift, less `origin` in a container of 8 bits.
template <class T>
void conv_of(OnnxWriter& to, const Op& op, std::vector<int32_t> weight, int32_t origin) {
  const std::string& out = to.name(op.output);
  const size_t channels = op.bias.size();
  const std::vector<int64_t> dims = weight_dims(op, channels);
  for (int32_t& w : weight) w -= origin;
  OnnxWriter::Names inputs{to.real(op.inputs[0]),
                           per_channel(to.model, out + "/weight",
                                       to.model.constant<T>(out + "/weight/bytes", dims,
                                                            output_channels_first<T>(weight, op.window, channels)),
                                       op.weight_step, narrow<T>(-origin, "zero point of weights"))};
  if (std::ranges::any_of(op.bias, [](int32_t b) { return b != 0; })) {
    const int64_t bias_dims[] = {static_cast<int64_t>(channels)};
    std::vector<float> steps = op.weight_step;
    for (float& s : steps) s = to.tensor(op.inputs[0]).grid.step() * s;
    inputs.push_back(per_channel(to.model, out + "/bias",
                                 to.model.constant<int32_t>(out + "/bias/integers", bias_dims, op.bias), steps,
                                 int32_t{0}));
  }
  to.quantized(op, to.model.node("Conv", inputs, out + "/sums", conv_attributes(to, op)));
}

}  // namespace

void add_conv(OnnxWriter& to, const Op& op) {
  if (to.fuses(op))
    return to.quantized(op, to.model.node("GlobalAveragePool", {to.real(op.inputs[0])}, to.name(op.output) + "/mean"));
  check(!op.weight_step.empty(), "the steps of its weights are not known; export a model, not a program file");
  std::vector<int32_t> weight(op.weight.begin(), op.weight.end());
  for (int32_t& w : weight) w *= 1 << op.sum_shift;
  const auto [smallest, largest] = std::ranges::minmax(weight);
  if (smallest >= -128 && largest <= 127) return conv_of<int8_t>(to, op, weight, 0);
  const int32_t origin = std::min(smallest, 0);  // zero is one of the bytes
  if (op.weight_step.size() == 1 && std::max(largest, 0) - origin <= 255)
    return conv_of<uint8_t>(to, op, weight, origin);
  add_conv_by_integers(to, op);
}

void add_conv_by_integers(OnnxWriter& to, const Op& op) {
  const std::string& out = to.name(op.output);
  const size_t channels = op.bias.size();
  std::string sums;
  std::vector<int32_t> rest(op.weight.begin(), op.weight.end());
  // Together the two hold -255 to 255.
  for (const auto& [part, zero] : {std::pair("/first", uint8_t{128}), std::pair("/second", uint8_t{127})}) {
    std::vector<int32_t> bytes;
    for (int32_t& w : rest) {
      bytes.push_back(std::clamp(w + zero, 0, 255));
      w -= bytes.back() - zero;
    }
    const std::string weight = to.model.constant<uint8_t>(out + part + "/weight", weight_dims(op, channels),
                                                          output_channels_first<uint8_t>(bytes, op.window, channels));
    const std::string product =
        to.model.node("ConvInteger", {to.name(op.inputs[0]), weight, to.zero_point(op.inputs[0]), to.byte(zero)},
                      out + part + "/sums", conv_attributes(to, op));
    sums = sums.empty() ? product : to.model.node("Add", {sums, product}, out + "/sums");
    if (std::ranges::all_of(rest, [](int32_t w) { return w == 0; })) break;
  }
  for (size_t i = 0; i < rest.size(); ++i) check(rest[i] == 0, "its weight {} is beyond -255 to 255", op.weight[i]);
  if (op.sum_shift > 0) {
    const int64_t scalar[] = {1};
    const std::vector<int32_t> factor{1 << op.sum_shift};
    sums = to.model.node("Mul", {sums, to.model.constant<int32_t>(out + "/sums/factor", scalar, factor)},
                         out + "/sums/fine");
  }
  const int64_t dims[] = {1, static_cast<int64_t>(channels), 1, 1};
  if (std::ranges::any_of(op.bias, [](int32_t b) { return b != 0; }))
    sums = to.model.node("Add", {sums, to.model.constant<int32_t>(out + "/sums/bias", dims, op.bias)},
                         out + "/sums/biased");
  const std::string real_sums = to.model.node("Cast", {sums}, out + "/sums/float", {{"to", int64_t{1}}});
  const bool is_real = to.tensor(op.output).type == Type::float32;
  const std::string rescaled = to.model.node(
      "Mul", {real_sums, to.model.constant<float>(out + "/rescale", dims, op.rescale)}, out + "/rescaled");
  if (is_real) {
    to.model.node("Add", {rescaled, to.model.constant<float>(out + "/bias", dims, op.real_bias)}, out);
    return;
  }
  to.requantized(op, rescaled);
}

void add_float_conv(OnnxWriter& to, const Op& op) {
  const std::string& out = to.name(op.output);
  const size_t channels = op.real_bias.size();
  const int64_t dims[] = {static_cast<int64_t>(channels)};
  to.model.node("Conv",
                {to.name(op.inputs[0]),
                 to.model.constant<float>(out + "/weight", weight_dims(op, channels),
                                          output_channels_first<float>(op.real_weight, op.window, channels)),
                 to.model.constant<float>(out + "/bias", dims, op.real_bias)},
                out, conv_attributes(to, op));
}

}  // namespace qgrad::deploy
