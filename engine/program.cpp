// Geometry of a program's operations, the reach of their sums, and where floats come before integers.
#include "engine/program.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>

namespace qgrad::deploy {

namespace {

int64_t end_padding(int64_t size, int64_t padding, int64_t kernel, int64_t dilation, int64_t stride, int64_t outputs) {
  const int64_t extent = (kernel - 1) * dilation + 1, room = size + 2 * padding - extent;
  if (room >= 0 && room / stride + 1 == outputs) return padding;
  return std::max<int64_t>(0, (outputs - 1) * stride + extent - size - padding);
}

}  // namespace

EndPadding end_padding(const Program& program, const Op& op) {
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  const TensorInfo& out = program.tensors[static_cast<size_t>(op.output)];
  const Window& w = op.window;
  return {end_padding(in.height, w.padding_h, w.kernel_h, w.dilation_h, w.stride_h, out.height),
          end_padding(in.width, w.padding_w, w.kernel_w, w.dilation_w, w.stride_w, out.width)};
}

ConvGeometry conv_geometry(const Program& program, const Op& op) {
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  const TensorInfo& out = program.tensors[static_cast<size_t>(op.output)];
  const Window& w = op.window;
  return {.in_h = in.height,
          .in_w = in.width,
          .in = in.channels,
          .out_h = out.height,
          .out_w = out.width,
          .out = out.channels,
          .kernel_h = w.kernel_h,
          .kernel_w = w.kernel_w,
          .stride_h = w.stride_h,
          .stride_w = w.stride_w,
          .padding_h = w.padding_h,
          .padding_w = w.padding_w,
          .dilation_h = w.dilation_h,
          .dilation_w = w.dilation_w,
          .groups = w.groups};
}

PoolGeometry pool_geometry(const Program& program, const Op& op) {
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  const TensorInfo& out = program.tensors[static_cast<size_t>(op.output)];
  const Window& w = op.window;
  return {in.height,  in.width,   in.channels, out.height,  out.width,  w.kernel_h,
          w.kernel_w, w.stride_h, w.stride_w,  w.padding_h, w.padding_w};
}

double integer_epsilon(float epsilon, const TensorInfo& input) {
  const double channels = input.channels, step = double{input.grid.step()};
  return double{epsilon} * (channels * channels) / (step * step);
}

int64_t largest_sum(const Program& program, const Op& op) {
  const auto input = [&](size_t i) -> const TensorInfo& { return program.tensors[static_cast<size_t>(op.inputs[i])]; };
  const auto largest_input = static_cast<int64_t>(input(0).grid.largest());
  if (op.kind == OpKind::matmul)
    return input(0).channels * largest_input * static_cast<int64_t>(input(1).grid.largest());
  std::vector<int64_t> weights(op.bias.size());
  for (size_t first = 0; first < op.weight.size(); first += weights.size())
    for (size_t c = 0; c < weights.size(); ++c) weights[c] += std::abs(int64_t{op.weight[first + c]});
  int64_t largest = 0;
  for (size_t c = 0; c < weights.size(); ++c)
    largest = std::max(largest, (weights[c] * largest_input << op.sum_shift) + std::abs(int64_t{op.bias[c]}));
  return largest;
}

namespace {

// The two largest weights of one sign, of any output channel.
int64_t largest_pair(const Op& op) {
  int64_t largest = 0;
  for (const int sign : {1, -1})
    for (size_t c = 0; c < op.bias.size(); ++c) {
      int64_t first = 0, second = 0;
      for (size_t i = c; i < op.weight.size(); i += op.bias.size()) {
        const int64_t w = int64_t{sign} * op.weight[i];
        second = std::max(second, std::min(first, w));
        first = std::max(first, w);
      }
      largest = std::max(largest, first + second);
    }
  return largest;
}

}  // namespace

std::vector<std::string> pairs_beyond_16_bits(const Program& program) {
  std::vector<std::string> names;
  for (const Op& op : program.ops) {
    if (op.kind != OpKind::conv || op.sum_shift > 0 || op.weight.empty()) continue;
    const auto [low, high] = std::ranges::minmax(op.weight);
    const TensorInfo& input = program.tensors[static_cast<size_t>(op.inputs[0])];
    if (low >= -128 && high <= 127 && largest_pair(op) * input.highest_byte() > std::numeric_limits<int16_t>::max())
      names.push_back(program.tensors[static_cast<size_t>(op.output)].name);
  }
  return names;
}

bool sums_floats(const Program& program, const Op& op) {
  if (op.kind == OpKind::resample) return program.tensors[static_cast<size_t>(op.output)].type == Type::float32;
  return op.kind == OpKind::float_conv || op.kind == OpKind::average_pool;
}

std::vector<std::string> float_sums_before_integers(const Program& program) {
  // Of tensors that become integers: their names, or those of what is made of them.
  std::vector<std::optional<std::string>> becomes(program.tensors.size());
  std::vector<std::string> names;
  for (auto op = program.ops.rbegin(); op != program.ops.rend(); ++op) {
    const auto output = static_cast<size_t>(op->output);
    if (op->kind != OpKind::quantize && !becomes[output]) continue;
    std::string name = program.tensors[output].name;
    if (name.empty()) name = becomes[output].value_or("");
    if (sums_floats(program, *op)) names.push_back(name);
    for (const int32_t input : op->inputs) becomes[static_cast<size_t>(input)] = name;
  }
  std::ranges::reverse(names);
  return names;
}

}  // namespace qgrad::deploy
