// What quantized layers compute, as operations on integers.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "nn/layers/norm.h"
#include "nn/layers/weighted_sum.h"
#include "quant/export/move_lowering.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/integer_softmax.h"
#include "quant/simulation/param_layer.h"

namespace qgrad::deploy {

// `to`: how a layer's results get onto its output's grid. Each returns the tensor that it makes. Throws for numbers
// that do not fit.
class IntegerLowering : public MoveLowering {
 protected:
  int32_t weighted(const GraphNode& node, RangeLinearQuantParamLayerWrapper& layer, const std::vector<Value>& inputs) {
    auto [op, sums] = integer_conv(OpKind::conv, node, layer, inputs);
    const QuantizedRange accumulator = quantized_range(layer.quantization().bits_accum, LinearQuantMode::symmetric);
    const bool is_limited = static_cast<double>(largest_sum(result_.program, op)) > double{accumulator.qmax};
    const Requantizer to(layer, is_limited);
    for (size_t c = 0; c < op.bias.size(); ++c) {
      op.rescale.push_back(sums.step[c % sums.step.size()] / to.grid.step());
      to.add_limits(op, op.rescale.back());
    }
    const int32_t output = emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
    if (largest_sum(result_.program, result_.program.ops.back()) >= int64_t{1} << 24)
      result_.beyond_simulation.push_back(node.path());
    return output;
  }

  // Real values of the sums, with a bias in float.
  int32_t real_sums(const GraphNode& node, RangeLinearQuantParamLayerWrapper& layer, const std::vector<Value>& inputs) {
    auto [op, sums] = integer_conv(OpKind::real_conv, node, layer, inputs);
    for (size_t c = 0; c < op.bias.size(); ++c) {
      op.rescale.push_back(sums.step[c % sums.step.size()]);
      op.real_bias.push_back(layer.bias().defined() ? layer.bias().data()[c] : 0.0f);
    }
    return emit(std::move(op), add_tensor(node, node.path(), Type::float32, {}));
  }

  // The zero bits that all weights end with: to_integer_layers makes some, for the sake of biases.
  static constexpr const char* kNoByte = "its weight {} is no integer of 8 bits: quantize it to 2 to 8 bits";
  static uint8_t common_shift(const std::vector<int32_t>& weights) {
    uint32_t used = 0;
    for (const int32_t weight : weights) used |= static_cast<uint32_t>(weight);
    return static_cast<uint8_t>(used == 0 ? 0 : std::min(std::countr_zero(used), kMostSumShift));
  }

  // The convolution of integers alone, and what its sums stand for.
  struct IntegerConv {
    Op op;
    IntegerSums sums;
  };
  IntegerConv integer_conv(OpKind kind, const GraphNode& node, RangeLinearQuantParamLayerWrapper& layer,
                           const std::vector<Value>& inputs) {
    const WeightedSum& sum = layer.layer();
    Op op{.kind = kind, .inputs = {stretched(node, on_grid(layer, 0, inputs.at(0)), sum)}, .window = window_of(sum)};
    IntegerSums sums = layer.integer_sums(tensor(op.inputs[0]).grid);
    const Tensor by_place = as_convolution_weight(sum, sums.weight);
    std::vector<int32_t> weights;
    for (const float weight : by_place.data()) {
      check(weight == std::nearbyint(weight) && std::fabs(weight) <= (255 << kMostSumShift), kNoByte, weight);
      weights.push_back(narrow<int32_t>(weight, "weight"));
    }
    op.sum_shift = common_shift(weights);
    for (const int32_t weight : weights) {
      check(std::abs(weight >> op.sum_shift) <= 255, kNoByte, weight);
      op.weight.push_back(narrow<int16_t>(weight >> op.sum_shift, "weight"));
    }
    for (const float s : sums.weight_scale) op.weight_step.push_back(1 / s);
    for (size_t c = 0; c < static_cast<size_t>(sums.weight.dim(-1)); ++c) {
      const float b = sums.bias.defined() ? sums.bias.data()[c] : 0.0f;
      check(std::fabs(b) < 0x1p30f,
            "its bias is {} steps of its sums, which 31 bits do not hold: use fewer bits for weights or activations",
            b);
      op.bias.push_back(narrow<int32_t>(b, "bias at the scale of the sums"));
    }
    return {std::move(op), std::move(sums)};
  }

  // Bytes on the output's grid: through a table, where that changes any. What is moved nowhere keeps its name.
  int32_t regridded(const std::string& name, int32_t in, const Requantizer& to) {
    const auto table = table_to(to, tensor(in).grid);
    bool changes = tensor(in).grid != to.grid;
    for (int32_t i = 0; i <= tensor(in).highest_byte(); ++i) changes = changes || table[static_cast<size_t>(i)] != i;
    if (!changes) {
      if (tensor(in).name.empty()) tensor(in).name = name;
      return in;
    }
    const int32_t output = add_like(in, Type::byte, to.grid);
    tensor(output).name = name;
    return emit({.kind = OpKind::lookup, .inputs = {in}, .tables = {table}}, output);
  }

  // Real numbers, clamped as the effect says, onto the output's grid.
  int32_t quantized(const GraphNode& node, int32_t in, const Requantizer& to, const Effect& effect) {
    Op op{.kind = OpKind::quantize, .inputs = {in}};
    to.add_limits(op, 1 / to.grid.step());
    op.low[0] = std::max(op.low[0], to.byte(to.steps_of(effect.gives.low)));
    op.high[0] = std::min(op.high[0], to.byte(to.steps_of(effect.gives.high)));
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  // Steps of the output's grid for every byte.
  int32_t looked_up(const GraphNode& node, int32_t in, const Tensor& steps, const Requantizer& to) {
    const int32_t output = add_tensor(node, node.path(), Type::byte, to.grid);
    return emit({.kind = OpKind::lookup, .inputs = {in}, .tables = {table_of(steps.data(), to.grid)}}, output);
  }

  static constexpr const char* kPartlyFloat =
      "its output is quantized, and one of its inputs is in float: quantize both or neither";

  // Sums and products of the inputs' real values.
  int32_t on_real_values(const GraphNode& node, const Effect& effect, const Requantizer& to,
                         const std::vector<Value>& inputs) {
    Op op{.kind = effect.kind == Effect::Kind::adds ? OpKind::add : OpKind::multiply};
    for (const Value& input : inputs) {
      check(tensor(input.tensor).type == Type::byte, kPartlyFloat);
      op.inputs.push_back(broadcast_to(node, input.tensor));
    }
    check_operands(op.inputs.size());
    to.add_limits(op, 1 / to.grid.step());
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  static std::array<uint8_t, 256> table_to(const Requantizer& to, const Grid& from) {
    Tensor values = values_of(from);
    for (float& x : values.mutable_data()) x = to.steps_of(x);
    return table_of(values.data(), to.grid);
  }

  // The mean of a window as a convolution with ones.
  int32_t window_sum(const GraphNode& node, const Pool2dOptions& window, const Requantizer& to, int32_t in) {
    const int32_t channels = tensor(in).channels;
    Op op{.kind = OpKind::conv, .inputs = {in}, .window = window_of(window)};
    op.window.groups = channels;
    op.weight.assign(static_cast<size_t>(window.kernel_h * window.kernel_w * channels), 1);
    op.bias.assign(static_cast<size_t>(channels), 0);
    op.weight_step = {RangeLinearFakeQuantWrapper::window_step(window)};
    op.rescale.assign(op.bias.size(), tensor(in).grid.step() * op.weight_step[0] / to.grid.step());
    for (const float rescale : op.rescale) to.add_limits(op, rescale);
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  int32_t resampled(const GraphNode& node, const IntegerMaps& maps, const Requantizer& to, int32_t in) {
    Op op = resampling(maps.weights);
    op.inputs = {in};
    op.rescale = {tensor(in).grid.step() * maps.step / to.grid.step()};
    to.add_limits(op, op.rescale[0]);
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  int32_t normalized(const GraphNode& node, const LayerNorm& norm, const Requantizer& to, int32_t in) {
    const auto channels = static_cast<size_t>(tensor(in).channels);
    Op op{.kind = OpKind::layer_norm, .inputs = {in}, .epsilon = norm.eps()};
    op.real_weight.assign(channels, 1.0f);
    op.real_bias.assign(channels, 0.0f);
    if (norm.weight.defined()) std::ranges::copy(norm.weight.raw().data(), op.real_weight.begin());
    if (norm.bias.defined()) std::ranges::copy(norm.bias.raw().data(), op.real_bias.begin());
    to.add_limits(op, 1 / to.grid.step());
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  int32_t multiplied_matrices(const GraphNode& node, const Requantizer& to, int32_t a, int32_t b) {
    Op op{.kind = OpKind::matmul, .inputs = {a, b}};
    op.rescale = {tensor(a).grid.step() * tensor(b).grid.step() / to.grid.step()};
    to.add_limits(op, op.rescale[0]);
    if (largest_sum(result_.program, op) >= int64_t{1} << 24) result_.beyond_simulation.push_back(node.path());
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  int32_t shares(const GraphNode& node, const Requantizer& to, int32_t in) {
    Op op{.kind = OpKind::softmax, .inputs = {in}, .exponentials = softmax_exponentials(tensor(in).grid)};
    to.add_limits(op, 1 / to.grid.step());
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }
};

}  // namespace qgrad::deploy
