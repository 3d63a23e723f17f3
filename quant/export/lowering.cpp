// Walking the graph of a quantized model, wrapper by wrapper.
#include "quant/export/lowering.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/pool.h"
#include "quant/export/program_builder.h"
#include "quant/simulation/eltwise.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"
#include "quant/wrappers.h"

namespace qgrad::deploy {
namespace {

class Lowering : ProgramBuilder {
 public:
  Lowering(Module& model, const Tensor& example) : model_(model), graph_(Graph::trace(model, example)) {
    check(example.rank() >= 1 && example.dim(0) == 1, "lower: expected one example, got a batch of shape {}",
          example.shape());
  }

  Lowered run() {
    values_.resize(graph_.nodes().size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const GraphNode& node = graph_[i];
      try {
        visit(i, node);
      } catch (const Error& e) {
        fail("{}: {} can not be lowered: {}", node.path(), kind_of(node), e.what());
      }
    }
    const Value output = values_[graph_.output()];
    result_.program.output = as_float(output.tensor);
    if (result_.program.output != output.tensor) tensor(result_.program.output).name = "output";
    validate(result_.program);
    return std::move(result_);
  }

 private:
  // --- the graph ---
  std::string kind_of(const GraphNode& node) const {
    const Module* module = find_module(model_, node.path());
    return node.module || !module || module == &model_ ? node.kind : std::string(module->kind());
  }

  void visit(size_t i, const GraphNode& node) {
    if (node.kind == "input") {
      check(i == 0, "a program has one input");
      result_.program.input = values_[i].tensor = add_tensor(node, node.name, Type::float32, {});
      return;
    }
    Module* outermost = find_module(model_, node.path());
    if (const auto* wrapper = dynamic_cast<const InputQuantizationWrapper*>(outermost))
      outermost = wrapper->layer.get();
    if (dynamic_cast<PostTrainLayer*>(outermost)) return visit_wrapped(i, node, *outermost);
    std::vector<int32_t> inputs;
    for (const size_t pred : node.preds) inputs.push_back(made_by(graph_[pred], values_[pred]));
    check(!inputs.empty(), "it has no inputs");
    if (node.kind == "flatten" || node.kind == "Flatten")
      values_[i] = flattened(node, {inputs[0], false});
    else if (const auto* pool = dynamic_cast<const MaxPool2d*>(node.module))
      values_[i] = {max_pooled(node, inputs[0], pool->options(), ""), false};
    else
      values_[i] = {in_float(node, inputs), false};
  }

  int32_t made_by(const GraphNode& node, const Value& value) const {
    check(value.tensor >= 0, "'{}' before it has no form in a program", node.name);
    return value.tensor;
  }

  // The wrapper's own operations lie between its inputs, which are made elsewhere, and its last one.
  void visit_wrapped(size_t i, const GraphNode& node, Module& module) {
    auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(&module);
    const bool is_real = wrapper && !wrapper->quantization().output && wrapper->quantization().real_sums;
    if (node.kind != (is_real ? "to_real" : "requantize")) return;
    check(lowered_.insert(node.path()).second, "it is called more than once");
    check(wrapper && (is_real || wrapper->output_grid().has_value()),
          "its scales come from the values of every batch; give calibration statistics");
    const std::vector<Value> inputs = inputs_of(node);
    check(wrapper->quantization().arithmetic == Arithmetic::onnx,
          "it was quantized with \"rounding\": \"distiller\", which is for simulation alone; programs and ONNX files "
          "compute as \"rounding\": \"onnx\" does");
    if (is_real)
      values_[i] = {real_sums(node, dynamic_cast<RangeLinearQuantParamLayerWrapper&>(*wrapper), inputs), false};
    else
      values_[i] = {lowered(node, *wrapper, inputs), true};
  }

  // In the order of the wrapper's inputs: what its last operation goes back to.
  std::vector<Value> inputs_of(const GraphNode& node) const {
    std::vector<Value> inputs;
    for (const size_t pred : node.preds) {
      if (graph_[pred].path() != node.path()) {
        made_by(graph_[pred], values_[pred]);
        inputs.push_back(values_[pred]);
        continue;
      }
      const std::vector<Value> before = inputs_of(graph_[pred]);
      inputs.insert(inputs.end(), before.begin(), before.end());
    }
    return inputs;
  }

  int32_t lowered(const GraphNode& node, RangeLinearQuantWrapper& wrapper, const std::vector<Value>& inputs) {
    if (auto* layer = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&wrapper)) return weighted(node, *layer, inputs);
    if (auto* layer = dynamic_cast<RangeLinearFakeQuantWrapper*>(&wrapper)) return float_layer(node, *layer, inputs);
    fail("no integer form is known");
  }

  // --- layers ---
  int32_t weighted(const GraphNode& node, RangeLinearQuantParamLayerWrapper& layer, const std::vector<Value>& inputs) {
    auto [op, sums] = integer_conv(OpKind::conv, layer, inputs);
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
    auto [op, sums] = integer_conv(OpKind::real_conv, layer, inputs);
    for (size_t c = 0; c < op.bias.size(); ++c) {
      op.rescale.push_back(sums.step[c % sums.step.size()]);
      op.real_bias.push_back(layer.bias().defined() ? layer.bias().data()[c] : 0.0f);
    }
    return emit(std::move(op), add_tensor(node, node.path(), Type::float32, {}));
  }

  // The zero bits that all weights end with: to_integer_layers makes some, for the sake of biases.
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
  IntegerConv integer_conv(OpKind kind, RangeLinearQuantParamLayerWrapper& layer, const std::vector<Value>& inputs) {
    Op op{.kind = kind, .inputs = {on_grid(layer, 0, inputs.at(0))}};
    IntegerSums sums = layer.integer_sums(tensor(op.inputs[0]).grid);
    if (const auto* conv = dynamic_cast<const Conv2d*>(layer.children()[0]->get()))
      op.window = window_of(conv->config().options, sums.weight.shape());
    std::vector<int32_t> weights;
    for (const float weight : sums.weight.data()) {
      check(weight == std::nearbyint(weight) && std::fabs(weight) <= (255 << kMostSumShift),
            "its weight {} is no integer of 8 bits", weight);
      weights.push_back(narrow<int32_t>(weight, "weight"));
    }
    op.sum_shift = common_shift(weights);
    for (const int32_t weight : weights) {
      check(std::abs(weight >> op.sum_shift) <= 255, "its weight {} is no integer of 8 bits", weight);
      op.weight.push_back(narrow<int16_t>(weight >> op.sum_shift, "weight"));
    }
    for (const float s : sums.weight_scale) op.weight_step.push_back(1 / s);
    for (size_t c = 0; c < static_cast<size_t>(sums.weight.dim(-1)); ++c) {
      const float b = sums.bias.defined() ? sums.bias.data()[c] : 0.0f;
      check(std::fabs(b) < 0x1p30f, "its bias {} at the scale of the sums needs more than 31 bits", b);
      op.bias.push_back(narrow<int32_t>(b, "bias at the scale of the sums"));
    }
    return {std::move(op), std::move(sums)};
  }

  // What the wrapper computes in float: of one byte, a table; of a window, its own operation.
  int32_t float_layer(const GraphNode& node, RangeLinearFakeQuantWrapper& wrapper, std::vector<Value> inputs) {
    const Module& layer = *wrapper.children()[0]->get();
    const Requantizer to(wrapper, false);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].carries_quantization && !wrapper.quantization().inputs.empty())
        inputs[i] = {on_grid(wrapper, i, inputs[i]), true};
    if ((layer.kind() == "EltwiseAdd" || layer.kind() == "EltwiseMult" || layer.kind() == "Concat"))
      return on_real_values(node, layer, to, inputs);
    check(inputs.size() == 1, "it computes in float");
    Value in = inputs[0];
    if (const auto window = wrapper.summed_window(image_shape(in.tensor))) return window_sum(node, *window, to, in);
    if (const auto* pool = dynamic_cast<const AvgPool2d*>(&layer)) {
      check(wrapper.precision() == FloatPrecision::single, "it computes in half precision");
      const int32_t pooled = add_tensor(node, "", Type::float32, {});
      emit({.kind = OpKind::average_pool, .inputs = {as_float(in.tensor)}, .window = window_of(pool->options())},
           pooled);
      Op op{.kind = OpKind::quantize, .inputs = {pooled}};
      to.add_limits(op, 1 / to.grid.step());
      return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
    }
    const std::string_view kind = layer.kind();
    if (tensor(in.tensor).type == Type::float32) {
      const auto* clamp = dynamic_cast<const Clamp*>(&layer);
      check(clamp || kind == "ReLU" || kind == "ReLU6" || kind == "Identity", "its input is float");
      Op op{.kind = OpKind::quantize, .inputs = {in.tensor}};
      to.add_limits(op, 1 / to.grid.step());
      const auto byte = [&](float x) { return to.byte(to.steps_of(x)); };
      if (kind.starts_with("ReLU")) op.low[0] = std::max(op.low[0], byte(0));
      if (kind == "ReLU6") op.high[0] = std::min(op.high[0], byte(6));
      if (clamp) op.low[0] = byte(clamp->low()), op.high[0] = byte(clamp->high());
      return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
    }
    Tensor values = values_of(tensor(in.tensor).grid);
    if (const auto* pool = dynamic_cast<const MaxPool2d*>(&layer)) {
      check(wrapper.precision() == FloatPrecision::single, "it computes in half precision");
      in.tensor = max_pooled(node, in.tensor, pool->options(), "");
      for (float& x : values.mutable_data()) x = to.steps_of(x);
    } else {
      check(kind == "ReLU" || kind == "ReLU6" || kind == "Clamp" || kind == "Sigmoid" || kind == "Tanh" ||
                kind == "Identity",
            "it computes in float");
      if (in.carries_quantization) values.set_grid(tensor(in.tensor).grid);
      values = to_integers(wrapper(values), to.grid, Arithmetic::onnx);
    }
    const int32_t output = add_tensor(node, node.path(), Type::byte, to.grid);
    return emit({.kind = OpKind::lookup, .inputs = {in.tensor}, .tables = {table_of(values.data(), to.grid)}}, output);
  }

  // Sums, products and concatenations of the inputs' real values.
  int32_t on_real_values(const GraphNode& node, const Module& layer, const Requantizer& to,
                         const std::vector<Value>& inputs) {
    Op op{.kind = layer.kind() == "EltwiseAdd" ? OpKind::add : OpKind::multiply};
    for (const Value& input : inputs) {
      check(tensor(input.tensor).type == Type::byte, "one of its inputs is float");
      op.inputs.push_back(input.tensor);
    }
    const int32_t output = add_tensor(node, node.path(), Type::byte, to.grid);
    if (const auto* concat = dynamic_cast<const Concat*>(&layer)) {
      check_along_channels(*concat, node);
      op.kind = OpKind::lookup;
      for (const int32_t input : op.inputs) {
        Tensor values = values_of(tensor(input).grid);
        for (float& x : values.mutable_data()) x = to.steps_of(x);
        op.tables.push_back(table_of(values.data(), to.grid));
      }
    } else {
      to.add_limits(op, 1 / to.grid.step());
    }
    return emit(std::move(op), output);
  }

  // The mean of a window as a convolution with ones.
  int32_t window_sum(const GraphNode& node, const Pool2dOptions& window, const Requantizer& to, const Value& in) {
    const int32_t channels = tensor(in.tensor).channels;
    Op op{.kind = OpKind::conv, .inputs = {in.tensor}, .window = window_of(window)};
    op.window.groups = channels;
    op.weight.assign(static_cast<size_t>(window.kernel_h * window.kernel_w * channels), 1);
    op.bias.assign(static_cast<size_t>(channels), 0);
    op.weight_step = {RangeLinearFakeQuantWrapper::window_step(window)};
    op.rescale.assign(op.bias.size(), tensor(in.tensor).grid.step() * op.weight_step[0] / to.grid.step());
    for (const float rescale : op.rescale) to.add_limits(op, rescale);
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  static void check_along_channels(const Concat& concat, const GraphNode& node) {
    check(concat.dim() == -1 || concat.dim() == node.output_shape.rank() - 1,
          "it concatenates along dimension {}, not channels", concat.dim());
  }

  // A layer that is not quantized.
  int32_t in_float(const GraphNode& node, const std::vector<int32_t>& inputs) {
    check(node.module != nullptr || node.kind == "add", "it has no form in a program");
    Op op;
    for (const int32_t input : inputs) op.inputs.push_back(as_float(input));
    if (const auto* conv = dynamic_cast<const Conv2d*>(node.module)) {
      op.window = window_of(conv->config().options, conv->weight.raw().shape());
      set_real_weight(op, conv->weight, conv->bias);
    } else if (const auto* linear = dynamic_cast<const Linear*>(node.module)) {
      set_real_weight(op, linear->weight, linear->bias);
    } else if (const auto* average = dynamic_cast<const AvgPool2d*>(node.module)) {
      op.kind = OpKind::average_pool;
      op.window = window_of(average->options());
    } else if (node.kind == "GlobalAvgPool2d") {
      const TensorInfo& in = tensor(op.inputs[0]);
      op.kind = OpKind::average_pool;
      op.window = window_of(Pool2dOptions{in.height, in.width, 1, 1, 0, 0});
    } else if (const auto* concat = dynamic_cast<const Concat*>(node.module)) {
      check_along_channels(*concat, node);
      op.kind = OpKind::concat;
    } else if (node.kind == "ReLU" || node.kind == "ReLU6") {
      op.kind = OpKind::clamp;
      op.real_high = node.kind == "ReLU6" ? 6.0f : std::numeric_limits<float>::infinity();
    } else {
      check(node.kind == "EltwiseAdd" || node.kind == "add" || node.kind == "EltwiseMult",
            "it has no form in a program");
      op.kind = node.kind == "EltwiseMult" ? OpKind::multiply : OpKind::add;
    }
    return emit(std::move(op), add_tensor(node, node.path(), Type::float32, {}));
  }

  static void set_real_weight(Op& op, const Parameter& weight, const Parameter& bias) {
    check(!weight.transform(), "it is quantized for training; to_integer_layers comes before lowering");
    op.kind = OpKind::float_conv;
    op.real_weight.assign(weight.raw().data().begin(), weight.raw().data().end());
    op.real_bias.assign(static_cast<size_t>(weight.raw().dim(-1)), 0.0f);
    if (bias.defined()) op.real_bias.assign(bias.raw().data().begin(), bias.raw().data().end());
  }

  int32_t max_pooled(const GraphNode& node, int32_t input, const Pool2dOptions& options, const std::string& name) {
    return emit({.kind = OpKind::max_pool, .inputs = {input}, .window = window_of(options)},
                add_tensor(node, name, tensor(input).type, tensor(input).grid));
  }

  Value flattened(const GraphNode& node, const Value& in) {
    const TensorInfo from = tensor(in.tensor);
    const int32_t output = add_tensor(node, "", from.type, from.grid);
    return {emit({.kind = OpKind::channels_first, .inputs = {in.tensor}}, output), false};
  }

  Module& model_;
  Graph graph_;
  std::vector<Value> values_;
  std::set<std::string> lowered_;  // paths of wrapped layers
};

}  // namespace

Lowered lower(Module& model, const Tensor& example) { return Lowering(model, example).run(); }

}  // namespace qgrad::deploy
