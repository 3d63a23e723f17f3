// Walking the graph of a quantized model, wrapper by wrapper.
#include "quant/export/lowering.h"

#include <algorithm>
#include <map>
#include <set>

#include "nn/layers/constant.h"
#include "quant/export/integer_lowering.h"
#include "quant/export/layer_lowering.h"
#include "quant/export/unread.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"

namespace qgrad::deploy {
namespace {

// Parameters of the network among the inputs of quantized layers, by the layer's path and the input's index: a graph
// does not show them.
struct ConstantInputs final : CallObserver {
  void leave(Module& module, Inputs x, const Tensor& y) override {
    if (dynamic_cast<Constant*>(&module)) constants.push_back(y);
    if (!dynamic_cast<RangeLinearQuantWrapper*>(&module)) return;
    for (size_t i = 0; i < x.size(); ++i)
      if (std::ranges::any_of(constants, [&](const Tensor& constant) { return constant.is_same(x[i]); }))
        of[module.path()][i] = x[i];
  }
  std::vector<Tensor> constants;
  std::map<std::string, std::map<size_t, Tensor>> of;
};

class Lowering : IntegerLowering {
 public:
  Lowering(Module& model, const Tensor& example) : model_(model), image_(example.shape()) {
    const Observing observing(constants_);
    graph_ = Graph::trace(model, example);
    visit_modules<RangeLinearQuantWrapper>(
        model, [this](RangeLinearQuantWrapper& wrapper) { quantized_[wrapper.path()] = &wrapper; });
    check(example.rank() >= 1 && example.dim(0) == 1, "lower: expected one example, got a batch of shape {}",
          example.shape());
  }

  Lowered run() {
    values_.resize(graph_.nodes().size());
    for (size_t i = 0; i < values_.size(); ++i) {
      const GraphNode& node = graph_[i];
      try {
        visit(i, node);
        values_[i].shape = node.output_shape;
      } catch (const Error& e) {
        const std::string where = node.path().empty() ? "" : node.path() + ": ";
        fail("{}{} can not be lowered: {}", where, kind_of(node), e.what());
      }
    }
    const Value output = values_[graph_.output()];
    result_.program.output = as_float(output.tensor);
    if (result_.program.output != output.tensor) tensor(result_.program.output).name = "output";
    leave_out_unread(result_.program);
    validate(result_.program);
    check(!mixes_tokens() || keeps_images_apart(model_, image_),
          "the images of a batch do not give what each gives alone: the network moves numbers from one to another");
    return std::move(result_);
  }

 private:
  // --- the graph ---
  // Of the layer as its user knows it, within what wraps it.
  std::string kind_of(const GraphNode& node) const {
    const Module* module = find_module(model_, node.path());
    if (node.module || !module || module == &model_) return node.kind;
    while (!module->children().empty() && module->children()[0]->name().empty()) module = module->children()[0]->get();
    return std::string(module->kind());
  }

  void visit(size_t i, const GraphNode& node) {
    if (node.is_input()) {
      result_.program.input = values_[i].tensor = add_tensor(node, node.name, Type::float32, {});
      return;
    }
    if (const auto layer = quantized_.find(node.path()); layer != quantized_.end())
      return visit_wrapped(i, node, *layer->second);
    std::vector<Value> inputs;
    for (const size_t pred : node.preds) {
      made_by(graph_[pred], values_[pred]);
      inputs.push_back(values_[pred]);
    }
    check(!inputs.empty(), "it has no inputs");
    values_[i].tensor = unquantized(node, inputs);
  }

  // By what it does to numbers.
  int32_t unquantized(const GraphNode& node, const std::vector<Value>& inputs) {
    std::vector<int32_t> tensors;
    tensors.reserve(inputs.size());
    for (const Value& input : inputs) tensors.push_back(input.tensor);
    if (node.module) check_one_image(*node.module, node.output_shape);
    if (is_move(node.effect) && !layer_lowerings().contains(node.kind)) return moved(node, inputs);
    if (node.effect.kind == Effect::Kind::concatenates && !joins_channels(node, tensors)) return joined(node, inputs);
    return lowering_of(node.kind, node.effect)(*this, node, tensors);
  }

  int32_t made_by(const GraphNode& node, const Value& value) const {
    check(value.tensor >= 0, "'{}' before it has no form in a program", node.name);
    return value.tensor;
  }

  // The wrapper's own operations lie between its inputs, which are made elsewhere, and its last one.
  void visit_wrapped(size_t i, const GraphNode& node, RangeLinearQuantWrapper& wrapper) {
    const bool is_real = !wrapper.quantization().output && wrapper.quantization().real_sums;
    if (node.kind != (is_real ? "to_real" : "requantize")) return;
    check(lowered_.insert(node.path()).second,
          "it is called more than once; give each of its places a layer of its own");
    check(is_real || wrapper.output_grid().has_value(),
          "its scales come from the values of every batch; give calibration statistics");
    std::vector<Value> inputs = inputs_of(node);
    for (const auto& [input, constant] : constants_.of[node.path()])
      inputs.insert(inputs.begin() + static_cast<int64_t>(input), {.shape = constant.shape(), .constant = constant});
    check_one_image(wrapper.wrapped(), node.output_shape);
    check(wrapper.quantization().arithmetic == Arithmetic::onnx,
          "it was quantized with \"rounding\": \"distiller\", which is for simulation alone; programs and ONNX files "
          "compute as \"rounding\": \"onnx\" does");
    if (is_real)
      values_[i] = {real_sums(node, *wrapper.param_layer(), inputs), false};
    else
      values_[i] = {lowered(node, wrapper, inputs), true};
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
    if (RangeLinearQuantParamLayerWrapper* layer = wrapper.param_layer()) return weighted(node, *layer, inputs);
    if (auto* layer = dynamic_cast<RangeLinearFakeQuantWrapper*>(&wrapper)) return float_layer(node, *layer, inputs);
    fail("programs have no operation for it on integers; docs/your_network.md says which networks they hold");
  }

  // --- layers ---
  // What the wrapper computes in float: of bytes, a table; else its own operation.
  int32_t float_layer(const GraphNode& node, RangeLinearFakeQuantWrapper& wrapper, std::vector<Value> inputs) {
    using Kind = Effect::Kind;
    Module& layer = wrapper.wrapped();
    const Effect effect = layer.effect();
    const Requantizer to(wrapper, false);
    if ((effect.kind == Kind::adds || effect.kind == Kind::multiplies) && has_plain_factor(inputs))
      return with_numbers(node, wrapper, to, inputs);
    for (Value& input : inputs)
      if (input.constant.defined()) input.tensor = constant(input.constant, first_made(inputs));
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].carries_quantization && !wrapper.quantization().inputs.empty())
        inputs[i].tensor = on_grid(wrapper, i, inputs[i]), inputs[i].carries_quantization = true;
    if (effect.kind == Kind::adds || effect.kind == Kind::multiplies) return on_real_values(node, effect, to, inputs);
    if (effect.kind == Kind::concatenates) return concatenated(node, layer, to, inputs);
    const int32_t in = inputs.at(0).tensor;
    if (const auto window = wrapper.summed_window(image_shape(in))) return window_sum(node, *window, to, in);
    if (const auto maps = wrapper.summed_maps(image_shape(in))) return resampled(node, *maps, to, in);
    if (const LayerNorm* norm = wrapper.integer_norm()) return normalized(node, *norm, to, in);
    if (wrapper.multiplies_integers()) return multiplied_matrices(node, to, in, inputs.at(1).tensor);
    if (wrapper.is_integer_softmax(node.output_shape.rank(), tensor(in).grid)) return shares(node, to, in);
    if (effect.kind == Kind::applies || effect.kind == Kind::none) return applied(node, wrapper, effect, to, inputs[0]);
    check(wrapper.precision() == FloatPrecision::single, "it computes in half precision, which programs do not have");
    const int32_t result = unquantized(within(node, layer), inputs);
    if (tensor(result).type == Type::float32) return quantized(node, result, to, effect);
    return regridded(node.path(), result, to);
  }

  // The wrapped layer alone.
  static GraphNode within(const GraphNode& node, Module& layer) {
    return {.name = "",
            .kind = std::string(layer.kind()),
            .effect = layer.effect(),
            .module = &layer,
            .output_shape = node.output_shape};
  }

  // --- constants ---
  static int32_t first_made(const std::vector<Value>& inputs) {
    for (const Value& input : inputs)
      if (!input.constant.defined()) return input.tensor;
    fail("all its inputs are constants");
  }
  // One input, and constants that are numbers.
  static bool has_plain_factor(const std::vector<Value>& inputs) {
    return inputs.size() > 1 &&
           std::ranges::count_if(inputs, [](const Value& input) { return !input.constant.defined(); }) == 1 &&
           std::ranges::all_of(
               inputs, [](const Value& input) { return !input.constant.defined() || input.constant.numel() == 1; });
  }
  // A function of every number of the one input that is no constant.
  int32_t with_numbers(const GraphNode& node, RangeLinearFakeQuantWrapper& wrapper, const Requantizer& to,
                       const std::vector<Value>& inputs) {
    int32_t in = -1;
    std::vector<Tensor> operands;
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (inputs[i].constant.defined()) {
        operands.push_back(inputs[i].constant.reshaped({1, 1}));
        continue;
      }
      in = on_grid(wrapper, i, inputs[i]);
      operands.push_back(values_of(tensor(in).grid));
      operands.back().set_grid(tensor(in).grid);
    }
    return looked_up(node, in, to_integers(wrapper.call(operands), to.grid, Arithmetic::onnx), to);
  }

  // A function of every number.
  int32_t applied(const GraphNode& node, RangeLinearFakeQuantWrapper& wrapper, const Effect& effect,
                  const Requantizer& to, const Value& in) {
    if (tensor(in.tensor).type == Type::float32) {
      check(effect.clamps || effect.kind == Effect::Kind::none,
            "a function is a table of bytes, and its input is in float: quantize what it reads");
      return quantized(node, in.tensor, to, effect);
    }
    Tensor values = values_of(tensor(in.tensor).grid);
    if (in.carries_quantization) values.set_grid(tensor(in.tensor).grid);
    return looked_up(node, in.tensor, to_integers(wrapper(values), to.grid, Arithmetic::onnx), to);
  }

  // Along the channels, a table for each input; else all are brought to the output's grid first.
  int32_t concatenated(const GraphNode& node, Module& layer, const Requantizer& to, std::vector<Value> inputs) {
    Op op{.kind = OpKind::lookup};
    for (const Value& input : inputs) {
      check(tensor(input.tensor).type == Type::byte, kPartlyFloat);
      op.inputs.push_back(input.tensor);
    }
    if (!joins_channels(node, op.inputs)) {
      for (Value& input : inputs) input.tensor = regridded("", input.tensor, to);
      return regridded(node.path(), joined(within(node, layer), inputs), to);
    }
    for (const int32_t input : op.inputs) op.tables.push_back(table_to(to, tensor(input).grid));
    return emit(std::move(op), add_tensor(node, node.path(), Type::byte, to.grid));
  }

  Module& model_;
  Shape image_;
  ConstantInputs constants_;
  Graph graph_;
  std::vector<Value> values_;
  std::map<std::string, RangeLinearQuantWrapper*> quantized_;  // by path
  std::set<std::string> lowered_;                              // paths of these
};

}  // namespace

Lowered lower(Module& model, const Tensor& example) { return Lowering(model, example).run(); }

}  // namespace qgrad::deploy
