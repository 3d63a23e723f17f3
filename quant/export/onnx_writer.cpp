// Names, and what stands around most operations.
#include "quant/export/onnx_writer.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "quant/export/runtime_form.h"

namespace qgrad::deploy {
namespace {

// The least and the largest byte that an operation gives.
std::pair<uint8_t, uint8_t> limits(const Op& op) {
  const auto all = [](const std::vector<uint8_t>& values) {
    check(std::ranges::all_of(values, [&](uint8_t v) { return v == values[0]; }),
          "bits_accum cut its channels at different values, and ONNX has one limit for all: use more bits_accum");
    return values[0];
  };
  return {all(op.low), all(op.high)};
}

}  // namespace

// Paths of modules have no slash: what has one in front is none of them.
std::vector<std::string> onnx_names(const Program& program) {
  std::vector<std::string> names;
  std::set<std::string> taken{"input", "output"};
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const std::string& name = program.tensors[i].name;
    const bool is_end = static_cast<int32_t>(i) == program.input || static_cast<int32_t>(i) == program.output;
    names.push_back(is_end || name.empty() || !taken.insert(name).second ? fmt::format("/tensor{}", i) : name);
  }
  names[static_cast<size_t>(program.input)] = "input";
  return names;
}

bool OnnxWriter::fuses(const Op& op) const {
  const std::optional<RuntimeForm> form = runtime_form(program, op);
  return form && (form->differing == 0 || options.fused);
}

std::string OnnxWriter::vector_shape() {
  const int64_t dims[] = {4}, shape[] = {0, -1, 1, 1};
  if (made_.insert("/vector").second) model.constant<int64_t>("/vector", dims, shape);
  return "/vector";
}

std::string OnnxWriter::row_shape() {
  const int64_t dims[] = {2}, shape[] = {0, -1};
  if (made_.insert("/row").second) model.constant<int64_t>("/row", dims, shape);
  return "/row";
}

std::string OnnxWriter::real(int32_t i) {
  if (tensor(i).type == Type::float32) return name(i);
  std::string value = name(i) + "/real";
  if (made_.insert(value).second) model.node("DequantizeLinear", {name(i), step(i), zero_point(i)}, value);
  return value;
}

OnnxWriter::Names OnnxWriter::real_inputs(const Op& op) {
  Names inputs;
  for (const int32_t input : op.inputs) inputs.push_back(real(input));
  return inputs;
}

void OnnxWriter::quantized(const Op& op, const std::string& values) {
  const auto [low, high] = limits(op);
  clipped(low, high, op.output, [&](const std::string& to) {
    model.node("QuantizeLinear", {values, step(op.output), zero_point(op.output)}, to);
  });
}

void OnnxWriter::requantized(const Op& op, const std::string& steps) {
  const auto [low, high] = limits(op);
  clipped(low, high, op.output, [&](const std::string& to) {
    model.node("QuantizeLinear", {steps, one(), zero_point(op.output)}, to);
  });
}

void OnnxWriter::clipped(uint8_t low, uint8_t high, int32_t i,
                         const std::function<void(const std::string& name)>& make) {
  if (low == 0 && high == 255) return make(name(i));
  make(name(i) + "/unclipped");
  model.node("Clip", {name(i) + "/unclipped", byte(low), byte(high)}, name(i));
}

std::vector<OnnxModel::Attribute> OnnxWriter::window_attributes(const Op& op) const {
  const Window& w = op.window;
  const auto [below, right] = end_padding(program, op);
  return {{"kernel_shape", std::vector<int64_t>{w.kernel_h, w.kernel_w}},
          {"strides", std::vector<int64_t>{w.stride_h, w.stride_w}},
          {"pads", std::vector<int64_t>{w.padding_h, w.padding_w, below, right}}};
}

}  // namespace qgrad::deploy
