// The layers that a program has operations for.
#include "quant/export/layer_lowering.h"

#include <algorithm>
#include <array>
#include <limits>

#include "nn/layers/per_example.h"
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

int32_t constant_of_example(ProgramBuilder& program, const GraphNode& node, Tensors inputs) {
  return program.constant(layer<PerExample>(node).value.raw(), inputs[0]);
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
      {"concat", concatenated},    {"PerExample", constant_of_example}};
  return table;
}

LayerLowering lowering_of(std::string_view kind, const Effect& effect) {
  const auto known = layer_lowerings().find(kind);
  if (known != layer_lowerings().end()) return known->second;
  if (effect.kind == Effect::Kind::averages) return resampled;
  const bool is_rectifier = effect.is_rectifier();
  check(effect.kind != Effect::Kind::applies || is_rectifier,
        "a function of floats has no form in a program: quantize what it reads; quantizers for training do so with "
        "\"quantized_activations\": \"outputs\", and not with \"inputs\"");
  check(effect.kind == Effect::Kind::sums || is_rectifier, kNoForm);
  return effect.kind == Effect::Kind::sums ? summed : rectified;
}

}  // namespace qgrad::deploy
