// Tracing: one forward pass on a tape, its ops gathered into calls of leaf modules.
#include "nn/graph.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <unordered_map>

#include "core/tape.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {
namespace {

// Of an op that a module with children runs itself.
Effect effect_of(std::string_view op) {
  constexpr std::array<std::string_view, 5> kMoving{"flatten", "reshape", "transpose", "slice", "pad"};
  if (std::ranges::find(kMoving, op) != kMoving.end()) return {.kind = Effect::Kind::moves};
  return {};
}

struct Call {
  Module* module = nullptr;
  std::vector<uint32_t> inputs;  // tape slots
  Shape output_shape;
};

// Notes inputs and output of every module call by the number of its tape scope.
class CallRecorder final : public CallObserver {
 public:
  explicit CallRecorder(Tape& tape) : tape_(tape) {}
  void enter(Module& module, Inputs x) override {
    open_.push_back(static_cast<uint32_t>(tape_.scopes().size() - 1));
    Call& call = calls_[open_.back()];
    call.module = &module;
    for (const Tensor& input : x) call.inputs.push_back(tape_.slot(input));
  }
  void leave(Module&, Inputs, const Tensor& y) override {
    calls_[open_.back()].output_shape = y.shape();
    open_.pop_back();
  }
  const Call* find(uint32_t scope) const {
    const auto it = calls_.find(scope);
    return it == calls_.end() ? nullptr : &it->second;
  }

 private:
  Tape& tape_;
  std::vector<uint32_t> open_;
  std::unordered_map<uint32_t, Call> calls_;
};

// Whether a node gives no negative number where its inputs have none.
bool keeps_positive(const Effect& effect) {
  using Kind = Effect::Kind;
  return effect.hands_on() || effect.kind == Kind::adds || effect.kind == Kind::multiplies ||
         effect.kind == Kind::concatenates;
}

// Turns tape nodes into graph nodes. Only what depends on the model's inputs is kept.
class Builder {
 public:
  Builder(const Tape& tape, const CallRecorder& calls) : tape_(tape), calls_(calls) {
    for (uint32_t scope = 0; scope < tape.scopes().size(); ++scope) {
      const Call* call = calls.find(scope);
      const std::optional<uint32_t> outer = scope == 0 ? std::nullopt : leaf_[tape.scopes()[scope].parent];
      const bool is_leaf = call && call->module->children().empty();
      leaf_.push_back(outer ? outer : is_leaf ? std::optional(scope) : std::nullopt);
    }
  }

  void add_input(size_t i, uint32_t slot, const Shape& shape) {
    producer_[slot] = nodes_.size();
    add(i == 0 ? "input" : fmt::format("input{}", i), "input", nullptr, shape);
  }

  void add_ops() {
    for (size_t i = 0; i < tape_.nodes().size(); ++i) {
      const Tape::Node& op = tape_.nodes()[i];
      const std::span<const uint32_t> inputs = tape_.inputs(op);
      if (std::ranges::none_of(inputs, [&](uint32_t slot) { return producer_.contains(slot); })) continue;
      producer_[op.output] =
          leaf_[op.scope] ? leaf_call(*leaf_[op.scope]) : composite_op(op, inputs, tape_.output_shapes()[i]);
    }
    for (size_t i = 0; i < nodes_.size(); ++i) finish(i);
  }

  std::optional<size_t> producer(uint32_t slot) const {
    const auto it = producer_.find(slot);
    return it == producer_.end() ? std::nullopt : std::optional(it->second);
  }
  std::vector<GraphNode> take() { return std::move(nodes_); }

 private:
  size_t add(std::string name, std::string kind, Module* module, const Shape& shape) {
    const int call = calls_so_far_[name]++;
    if (call > 0) name += fmt::format("#{}", call);
    const Effect effect = module ? module->effect() : effect_of(kind);
    nodes_.push_back({std::move(name), std::move(kind), effect, module, call, shape, {}, {}});
    return nodes_.size() - 1;
  }

  void finish(size_t i) {
    GraphNode& node = nodes_[i];
    for (const size_t pred : node.preds) nodes_[pred].succs.push_back(i);
    node.is_positive = node.effect.kind == Effect::Kind::applies
                           ? node.effect.gives.low >= 0
                           : keeps_positive(node.effect) &&
                                 std::ranges::all_of(node.preds, [&](size_t p) { return nodes_[p].is_positive; });
  }

  void connect(size_t node, std::span<const uint32_t> inputs) {
    for (const uint32_t slot : inputs)
      if (const std::optional<size_t> pred = producer(slot)) nodes_[node].preds.push_back(*pred);
  }

  size_t leaf_call(uint32_t scope) {
    const auto [it, is_new] = node_of_scope_.try_emplace(scope, nodes_.size());
    if (is_new) {
      const Call& call = *calls_.find(scope);
      connect(add(call.module->path(), std::string(call.module->kind()), call.module, call.output_shape), call.inputs);
    }
    return it->second;
  }

  size_t composite_op(const Tape::Node& op, std::span<const uint32_t> inputs, const Shape& shape) {
    uint32_t scope = op.scope;
    while (scope != 0 && !calls_.find(scope)) scope = tape_.scopes()[scope].parent;
    const Call* call = calls_.find(scope);
    const size_t node =
        add(fmt::format("{}:{}", call ? call->module->path() : "", op.op), std::string(op.op), nullptr, shape);
    connect(node, inputs);
    return node;
  }

  const Tape& tape_;
  const CallRecorder& calls_;
  std::vector<std::optional<uint32_t>> leaf_;           // by scope: the outermost call of a leaf module that it lies in
  std::unordered_map<uint32_t, size_t> producer_;       // slot -> graph node
  std::unordered_map<uint32_t, size_t> node_of_scope_;  // call of a leaf -> graph node
  std::map<std::string, int> calls_so_far_;
  std::vector<GraphNode> nodes_;
};

}  // namespace

Graph Graph::trace(Module& model, std::span<const Tensor> example) {
  Tape tape(Tape::Mode::trace);
  CallRecorder calls(tape);
  const EvaluationMode evaluation(model);
  uint32_t output_slot = 0;
  {
    const Tape::Recording recording(tape);
    const Observing observing(calls);
    output_slot = tape.slot(model.call(example));
  }
  Builder builder(tape, calls);
  for (size_t i = 0; i < example.size(); ++i) builder.add_input(i, tape.slot(example[i]), example[i].shape());
  builder.add_ops();

  const std::optional<size_t> output = builder.producer(output_slot);
  check(output.has_value(), "trace: the output of {} does not depend on its inputs", model.kind());
  Graph graph;
  graph.output_ = *output;
  graph.nodes_ = builder.take();
  return graph;
}

const GraphNode* Graph::find(std::string_view name) const {
  const auto it = std::ranges::find(nodes_, name, &GraphNode::name);
  return it == nodes_.end() ? nullptr : &*it;
}

const GraphNode* Graph::only_successor(const GraphNode& node) const {
  return node.succs.size() == 1 && &node != &nodes_[output_] ? &nodes_[node.succs[0]] : nullptr;
}

bool Graph::called_once(const GraphNode& node) const {
  return node.module && std::ranges::count(nodes_, node.module, &GraphNode::module) == 1;
}

const GraphNode* Graph::sole_successor(const GraphNode& node) const {
  const GraphNode* next = only_successor(node);
  return next && next->preds.size() == 1 && called_once(node) && called_once(*next) ? next : nullptr;
}

// A convolution has its weights at every output, a transposed one at every input.
double Graph::multiplications(const GraphNode& node) const {
  const auto read = [&]() -> const Shape& { return nodes_[node.preds.at(0)].output_shape; };
  if (node.effect.kind == Effect::Kind::multiplies_matrices)
    return static_cast<double>(node.output_shape.numel() * read()[-1]);
  const WeightedSum* layer = node.module ? node.module->weighted_sum() : nullptr;
  if (!layer) return 0;
  const Shape& positions = layer->is_transposed() ? read() : node.output_shape;
  const int64_t pixels = positions.numel() / positions[-1];
  return static_cast<double>(pixels * layer->weight.raw().numel());
}

}  // namespace qgrad
