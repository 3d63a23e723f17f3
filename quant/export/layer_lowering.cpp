// The layers that a program has operations for.
#include "quant/export/layer_lowering.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "nn/layers/pool.h"
#include "nn/layers/separable.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad::deploy {
namespace {

using Tensors = std::span<const int32_t>;

constexpr const char* kNoForm = "programs have no operation for it; docs/your_network.md says which networks they hold";

template <class M>
const M& layer(const GraphNode& node) {
  return dynamic_cast<const M&>(*node.module);
}

// An operation on float tensors.
int32_t in_float(ProgramBuilder& program, const GraphNode& node, Op op, Tensors inputs) {
  for (const int32_t input : inputs) op.inputs.push_back(program.as_float(input));
  return program.emit(std::move(op), program.add_float(node));
}

int32_t of_one_size(ProgramBuilder& program, const GraphNode& node, OpKind kind, Tensors inputs) {
  ProgramBuilder::check_operands(inputs.size());
  std::vector<int32_t> large;
  for (const int32_t input : inputs) large.push_back(program.broadcast_to(node, input));
  return in_float(program, node, {.kind = kind}, large);
}

int32_t added(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  return of_one_size(program, node, OpKind::add, inputs);
}

int32_t multiplied(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  return of_one_size(program, node, OpKind::multiply, inputs);
}

int32_t concatenated(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  program.check_along_channels(node, inputs);
  return in_float(program, node, {.kind = OpKind::concat}, inputs);
}

int32_t resampled(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const Separable* separable = node.module ? node.module->separable() : nullptr;
  check(separable, kNoForm);
  Op op = ProgramBuilder::resampling(separable->maps(program.image_shape(inputs[0])));
  op.rescale = {1};
  return in_float(program, node, std::move(op), inputs);
}

int32_t averaged(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const Pool2dOptions window = layer<AvgPool2d>(node).window(program.image_shape(inputs[0]));
  if (window.ceil || !window.count_padding) return resampled(program, node, inputs);
  return in_float(program, node, {.kind = OpKind::average_pool, .window = ProgramBuilder::window_of(window)}, inputs);
}

int32_t max_pooled(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  return program.max_pooled(node, inputs[0], layer<MaxPool2d>(node));
}

int32_t flattened(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const TensorInfo from = program.tensor(inputs[0]);
  const int32_t output = program.add_tensor(node, "", from.type, from.grid);
  return program.emit({.kind = OpKind::channels_first, .inputs = {inputs[0]}}, output);
}

// Where the numbers of an image come from, found by moving their places: each is (row * W + column) * C + channel + 1.
int32_t selected(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const TensorInfo from = program.tensor(inputs[0]);
  check(node.module && from.count() < 1 << 24, "it moves {} numbers, {} at the most can be followed", from.count(),
        1 << 24);
  Tensor places = Tensor::empty(program.image_shape(inputs[0]));
  std::iota(places.mutable_data().begin(), places.mutable_data().end(), 1.0f);
  const Tensor moved = (*node.module)(places);
  check(moved.rank() == 4, "it gives shape {}; programs have images and vectors, and no attention", moved.shape());
  const int64_t width = moved.dim(2), channels = moved.dim(3);
  Op op{.kind = OpKind::select, .inputs = {inputs[0]}};
  op.rows.assign(static_cast<size_t>(moved.dim(1)), Op::kZeros);
  op.columns.assign(static_cast<size_t>(width), Op::kZeros);
  op.channels.assign(static_cast<size_t>(channels), Op::kZeros);
  const auto for_each = [&](auto&& call) {
    for (int64_t i = 0; i < moved.numel(); ++i)
      call(static_cast<int32_t>(moved.data()[static_cast<size_t>(i)]) - 1,
           op.rows[static_cast<size_t>(i / channels / width)], op.columns[static_cast<size_t>(i / channels % width)],
           op.channels[static_cast<size_t>(i % channels)]);
  };
  for_each([&](int32_t place, int32_t& row, int32_t& column, int32_t& channel) {
    if (place < 0) return;
    row = place / from.channels / from.width;
    column = place / from.channels % from.width;
    channel = place % from.channels;
  });
  for_each([&](int32_t place, int32_t row, int32_t column, int32_t channel) {
    const int32_t expected =
        std::min({row, column, channel}) < 0 ? -1 : (row * from.width + column) * from.channels + channel;
    check(place == expected, "it moves numbers otherwise than by rows, columns and channels");
  });
  const bool stays = op.rows.size() == static_cast<size_t>(from.height) &&
                     op.columns.size() == static_cast<size_t>(from.width) && moved.numel() == from.count() &&
                     std::ranges::is_sorted(moved.data());
  if (stays) return inputs[0];
  return program.emit(std::move(op), program.add_tensor(node, "", from.type, from.grid));
}

int32_t summed(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const WeightedSum& sum = *node.module->weighted_sum();
  check(!sum.weight.transform(),
        "its weights are quantized for training; programs are made of what to_integer_layers() gives");
  const Tensor weight = ProgramBuilder::as_convolution_weight(sum, sum.weight.raw()), &bias = sum.bias.raw();
  Op op{.kind = OpKind::float_conv, .window = program.window_of(sum)};
  op.real_weight.assign(weight.data().begin(), weight.data().end());
  op.real_bias.assign(static_cast<size_t>(weight.dim(-1)), 0.0f);
  if (bias.defined()) op.real_bias.assign(bias.data().begin(), bias.data().end());
  return in_float(program, node, std::move(op), std::array{program.stretched(node, inputs[0], sum)});
}

int32_t rectified(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  const float high = node.effect.cap().value_or(std::numeric_limits<float>::infinity());
  return in_float(program, node, {.kind = OpKind::clamp, .real_high = high}, inputs);
}

}  // namespace

std::map<std::string, LayerLowering, std::less<>>& layer_lowerings() {
  static std::map<std::string, LayerLowering, std::less<>> table{
      {"EltwiseAdd", added},       {"add", added},
      {"EltwiseMult", multiplied}, {"Concat", concatenated},
      {"AvgPool2d", averaged},     {"GlobalAvgPool2d", averaged},
      {"MaxPool2d", max_pooled},   {"GlobalMaxPool2d", max_pooled},
      {"concat", concatenated},    {"Flatten", flattened},
      {"flatten", flattened}};
  return table;
}

LayerLowering lowering_of(std::string_view kind, const Effect& effect) {
  const auto known = layer_lowerings().find(kind);
  if (known != layer_lowerings().end()) return known->second;
  if (effect.kind == Effect::Kind::averages) return resampled;
  if (effect.kind == Effect::Kind::moves || effect.kind == Effect::Kind::splits) return selected;
  const bool is_rectifier = effect.is_rectifier();
  check(effect.kind != Effect::Kind::applies || is_rectifier,
        "a function of floats has no form in a program: quantize what it reads; quantizers for training do so with "
        "\"quantized_activations\": \"outputs\", and not with \"inputs\"");
  check(effect.kind == Effect::Kind::sums || is_rectifier, kNoForm);
  return effect.kind == Effect::Kind::sums ? summed : rectified;
}

}  // namespace qgrad::deploy
