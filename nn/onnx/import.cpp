// Walking a model's nodes, and building the network that they mean.
#include "nn/onnx/import.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "core/memory.h"
#include "core/ops.h"
#include "core/tape.h"
#include "nn/layers/layer_class.h"
#include "nn/models/architecture.h"
#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

constexpr int64_t kOldest = 7, kNewest = 28;
constexpr int64_t kLargest = int64_t{1} << 28;  // numbers of a value, for two examples
constexpr size_t kMostBytes = size_t{1} << 32;  // of all values at a time; parameters come on top
constexpr size_t kNamed = 8;

class Importer final : public NetworkBuilder {
 public:
  // Takes the values of the model's constants where they become tensors.
  Importer(Model& model, const ImportOptions& options) : model_(model), options_(options) {
    for (auto* family : {layer_translations, elementwise_translations, resizing_translations, shape_translations})
      translations_.merge(family());
  }

  Imported run() {
    check(model_.opset >= kOldest && model_.opset <= kNewest, "ONNX: opset {} is not between {} and {}", model_.opset,
          kOldest, kNewest);
    const std::vector<const Node*> nodes = needed_nodes();
    check_operators(nodes);
    for (Constant& constant : model_.constants) constants_[constant.name] = &constant;
    for (const Node* node : nodes)
      for (const std::string& name : node->inputs) ++uses_[name];
    for (const Value& output : model_.outputs) ++uses_[output.name];
    for (const Value& input : model_.inputs)
      if (!constants_.contains(input.name)) add_input(input);
    check(!result_.inputs.empty(), "ONNX: the graph has no inputs");
    for (const Node* node : nodes) translate(*node);
    for (const Value& output : model_.outputs) add_output(output.name);
    drop_unused();
    Json model{{"class", "network"}, {"inputs", inputs_}, {"nodes", nodes_}};
    if (outputs_.size() > 1 || outputs_[0] != nodes_.back().at("name").get<std::string>()) model["outputs"] = outputs_;
    result_.model = {std::move(model), "", "model"};
    return std::move(result_);
  }

  Known add(const std::string& layer, Json settings, std::vector<Known> inputs, Order order,
            Parameters parameters) override {
    Json config{{"class", layer}};
    config.update(settings);
    const bool is_constant =
        !inputs.empty() && std::ranges::all_of(inputs, [](const Known& x) { return x.is_constant(); });
    if (!is_constant)
      for (Known& x : inputs)
        if (x.is_constant()) x = as_node(x);
    std::vector<Shape> shapes;
    for (const Known& x : inputs) shapes.push_back(shape_of(x, 1));
    const ModulePtr module = make(config, shapes, parameters);
    if (is_constant) return computed(*module, inputs, order);

    Known result{.order = order, .node = unique(current_)};
    result.dims = dims_of(*module, inputs, order);
    Json node{{"name", result.node}};
    node.update(config);
    if (!inputs.empty()) {
      node["inputs"] = Json::array();
      for (const Known& x : inputs) node["inputs"].push_back(x.node);
    }
    nodes_.push_back(std::move(node));
    made_[result.node] = {layer, std::move(settings), std::move(inputs), std::move(parameters)};
    return result;
  }

  const Made* maker(const Known& value) const override {
    const auto it = made_.find(value.node);
    return it == made_.end() ? nullptr : &it->second;
  }
  Known first_input() const override { return known_.at(result_.inputs[0].name); }
  int64_t batch_in_file() const override { return fixed_batch_; }

 private:
  // --- what there is to do ---
  // Nodes that outputs depend on, in the file's order.
  std::vector<const Node*> needed_nodes() const {
    check(!model_.outputs.empty(), "ONNX: the graph has no outputs");
    std::set<std::string> needed;
    for (const Value& output : model_.outputs) needed.insert(output.name);
    std::vector<const Node*> nodes;
    for (size_t i = model_.nodes.size(); i-- > 0;) {
      const Node& node = model_.nodes[i];
      if (std::ranges::none_of(node.outputs, [&](const std::string& name) { return needed.contains(name); })) continue;
      nodes.push_back(&node);
      needed.insert(node.inputs.begin(), node.inputs.end());
    }
    std::ranges::reverse(nodes);
    return nodes;
  }

  bool is_supported(const Node& node) const {
    return (node.domain.empty() || node.domain == "ai.onnx") && translations_.contains(node.op);
  }

  void check_operators(const std::vector<const Node*>& nodes) const {
    std::vector<const Node*> foreign;
    std::set<std::string> others;
    for (const Node* node : nodes)
      if (!is_supported(*node)) foreign.push_back(node);
    if (foreign.empty()) return;
    for (size_t i = 1; i < foreign.size(); ++i) others.insert(foreign[i]->op);
    const std::string rest = foreign.size() == 1 ? "all other nodes are supported"
                                                 : fmt::format("{} other nodes are not supported either: {}",
                                                               foreign.size() - 1, fmt::join(others, ", "));
    fail("{}: the operator {}{} is not supported; {}", where(*foreign[0]),
         foreign[0]->domain.empty() ? "" : foreign[0]->domain + ".", foreign[0]->op, rest);
  }

  std::string where(const Node& node) const {
    const std::string& name = node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
    return fmt::format("node '{}' ({}, opset {})", name, node.op, model_.opset);
  }

  // --- inputs and outputs ---
  // One example's sizes where the file leaves them open.
  Dims sizes_of(const Value& input) {
    Dims dims = input.dims;
    const auto named = options_.sizes.find(input.name), any = options_.sizes.find("");
    const auto given = named != options_.sizes.end() ? named : any;
    if (given != options_.sizes.end() && !dims.empty()) {
      const Dims& sizes = given->second;
      const bool fits = sizes.size() + 1 == dims.size() &&
                        std::ranges::equal(sizes, Dims(dims.begin() + 1, dims.end()),
                                           [](int64_t a, int64_t b) { return a == b || b == Value::kUnknown; });
      check(fits, "input '{}': sizes of {} were given, but in the file it is {}", input.name, dims_text(sizes),
            declared(input));
      std::ranges::copy(sizes, dims.begin() + 1);
    }
    if (options_.any_batch && !dims.empty()) {
      fixed_batch_ = dims[0];
      dims[0] = kBatch;
    }
    check(std::ranges::none_of(dims, [](int64_t dim) { return dim < 0; }),
          "input '{}' is {} in the file; its sizes are to be given: those of one example, as 3x224x224", input.name,
          declared(input));
    return dims;
  }

  static std::string declared(const Value& input) {
    std::vector<std::string> words;
    for (size_t i = 0; i < input.dims.size(); ++i)
      words.push_back(input.dims[i] != Value::kUnknown ? std::to_string(input.dims[i])
                      : input.symbols[i].empty()       ? "?"
                                                       : input.symbols[i]);
    return fmt::format("[{}]", fmt::join(words, ", "));
  }

  // Images are taken with channels last, unless the file does so itself.
  Order order_of(const Value& input) const {
    if (input.dims.size() != 4) return in_order(input.dims.size());
    for (const Node& node : model_.nodes)
      if (node.op == "Transpose" && !node.inputs.empty() && node.inputs[0] == input.name) {
        const auto perm = node.attributes.find("perm");
        if (perm != node.attributes.end() && perm->second.ints == Dims{0, 3, 1, 2}) return in_order(4);
      }
    return kImages;
  }

  void add_input(const Value& input) {
    if (const auto known = options_.known.find(input.name); known != options_.known.end()) {
      known_[input.name] = constant_of(known->second);
      return;
    }
    check(input.type == Type::float32 || input.type == Type::float64 || input.type == Type::float16,
          "input '{}' has numbers of {}, expected float32", input.name, type_name(input.type));
    Known known{.dims = sizes_of(input), .order = order_of(input), .node = unique(clean_name(input.name))};
    Json shape = Json::array();
    const Shape one = shape_of(known, 1);
    for (int i = 1; i < one.rank(); ++i) shape.push_back(one[i]);
    inputs_.push_back({{"name", known.node}, {"shape", shape}});
    result_.inputs.push_back({input.name, known.dims, known.order});
    known_[input.name] = std::move(known);
  }

  void add_output(const std::string& name) {
    Known known = find(name);
    if (known.ints)
      known = constant_of(Tensor::from(Shape(known.dims), std::vector<float>(known.ints->begin(), known.ints->end())));
    if (known.is_constant()) known = as_node(known);
    if (std::ranges::any_of(inputs_, [&](const Json& input) { return input.at("name") == known.node; })) {
      current_ = clean_name(name);
      known = add("Identity", Json::object(), {known}, known.order, {});
    }
    outputs_.push_back(known.node);
    result_.outputs.push_back({name, known.dims, known.order});
  }

  // Layers that nothing needs, since others took their place.
  void drop_unused() {
    std::set<std::string> needed(outputs_.begin(), outputs_.end());
    Json kept = Json::array();
    for (size_t i = nodes_.size(); i-- > 0;) {
      const std::string name = nodes_[i].at("name");
      if (!needed.contains(name)) continue;
      Made& made = made_.at(name);
      for (const Known& x : made.inputs) needed.insert(x.node);
      for (auto& [parameter, tensor] : made.parameters) result_.parameters[name + "." + parameter] = tensor;
      kept.push_back(std::move(nodes_[i]));
    }
    std::reverse(kept.begin(), kept.end());
    nodes_ = std::move(kept);
  }

  // --- nodes ---
  const Known& find(const std::string& name) {
    const auto known = known_.find(name);
    if (known != known_.end()) return known->second;
    const auto constant = constants_.find(name);
    check(constant != constants_.end(), "'{}' is made by no node before it", name);
    Known& value = known_[name] = constant_of(*constant->second);
    constant->second->values = {};
    return value;
  }

  // Large weights are there once: in the file, as a constant, or as a layer's.
  void drop_used_constants(const Node& node) {
    for (const std::string& name : node.inputs)
      if (--uses_[name] == 0 && constants_.contains(name)) known_.erase(name);
  }

  void translate(const Node& node) {
    try {
      std::vector<const Known*> inputs;
      for (const std::string& name : node.inputs) inputs.push_back(name.empty() ? nullptr : &find(name));
      current_ = name_of(node);
      const Translation translation(*this, node, model_.opset, std::move(inputs));
      std::optional<std::vector<Known>> outputs = folded(translation);
      if (!outputs) outputs = translations_.find(node.op)->second(translation);
      for (size_t i = 0; i < node.outputs.size(); ++i) {
        if (node.outputs[i].empty()) continue;
        if (i >= outputs->size()) continue;  // whoever asks for it finds that nobody made it
        check(!known_.contains(node.outputs[i]), "'{}' is made twice", node.outputs[i]);
        known_[node.outputs[i]] = std::move((*outputs)[i]);
      }
      drop_used_constants(node);
    } catch (const Error& e) {
      fail("{}: {}", where(node), e.what());
    }
  }

  std::string unique(const std::string& name) {
    std::string candidate = name.empty() ? "node" : name;
    for (int i = 1; !names_.insert(candidate).second; ++i) candidate = fmt::format("{}_{}", name, i);
    return candidate;
  }

  // --- layers ---
  // Constants are parameters of their own; those that come for every example have the batch's size.
  Known as_node(Known constant) {
    check(constant.floats.defined(), "whole numbers where the network needs floats");
    const Tensor value = constant.floats;
    const std::span<const int64_t> dims = value.shape().dims();
    return add("Constant", {{"shape", std::vector<int64_t>(dims.begin(), dims.end())}}, {}, constant.order,
               {{"value", value}});
  }

  static Shape shape_of(const Known& x, int64_t batch) {
    Dims stored;
    for (const int dim : x.order) {
      const int64_t size = x.dims[static_cast<size_t>(dim)], batches = size / kBatch;
      stored.push_back(batches * batch + size % kBatch);
    }
    check(count(stored) <= kLargest, "a value of {} is larger than {} numbers", dims_text(x.dims), kLargest);
    return Shape(stored);
  }

  static ModulePtr make(const Json& config, const std::vector<Shape>& inputs, const Parameters& parameters) {
    ModulePtr module = Registry<LayerClass>::create({config, "", "layer"})->make([&] { return inputs.at(0); });
    module->set_training(false);
    size_t found = 0;
    const auto set = [&](const std::string& name, const Tensor& own, auto&& put) {
      const auto given = parameters.find(name);
      if (given == parameters.end()) return;
      check(own.defined() && own.shape() == given->second.shape(), "its {} has the shape {}, expected {}", name,
            given->second.shape(), own.defined() ? own.shape() : Shape{});
      put(given->second);
      ++found;
    };
    for (Parameter* p : module->parameters()) set(p->name(), p->raw(), [&](const Tensor& t) { p->set_raw(t); });
    for (Buffer* b : module->buffers()) set(b->name(), (*b)(), [&](const Tensor& t) { b->set(t); });
    check(found == parameters.size(), "a {} has no such parameters", module->kind());
    return module;
  }

  static Known computed(Module& module, const std::vector<Known>& inputs, const Order& order) {
    const Tape::Paused paused;
    std::vector<Tensor> x;
    for (const Known& input : inputs) {
      check(input.floats.defined(), "whole numbers where floats are expected");
      x.push_back(input.floats);
    }
    Known result{.order = order};
    result.floats = module.call(x);
    result.dims.resize(order.size());
    check(result.floats.rank() == static_cast<int>(order.size()), "constants of {} dimensions where {} are expected",
          result.floats.rank(), order.size());
    for (size_t i = 0; i < order.size(); ++i)
      result.dims[static_cast<size_t>(order[i])] = result.floats.dim(static_cast<int>(i));
    return result;
  }

  // The file's dimensions of what a layer gives: its shapes for one and for two examples say where the batch is.
  static Dims dims_of(Module& module, const std::vector<Known>& inputs, const Order& order) {
    const Tape::Paused paused;
    const auto shape = [&](int64_t batch) {
      std::vector<Tensor> x;
      for (const Known& input : inputs) x.push_back(Tensor::zeros(shape_of(input, batch)));
      return module.call(x).shape();
    };
    const Shape one = shape(1);
    const bool has_batch = std::ranges::any_of(
        inputs, [](const Known& x) { return std::ranges::any_of(x.dims, [](int64_t dim) { return dim >= kBatch; }); });
    const Shape two = has_batch ? shape(2) : one;
    check(one.rank() == static_cast<int>(order.size()), "a value of shape {} where {} dimensions are expected", one,
          order.size());
    Dims dims(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const int at = static_cast<int>(i);
      const int64_t batches = two[at] - one[at];
      dims[static_cast<size_t>(order[i])] = batches * kBatch + one[at] - batches;
    }
    return dims;
  }

  Model& model_;
  const ImportOptions& options_;
  Translations translations_;
  std::map<std::string, Constant*> constants_;
  std::map<std::string, int64_t> uses_;  // of a name, by nodes to come and as an output
  std::map<std::string, Known> known_;
  std::map<std::string, Made> made_;  // by the name in the network
  int64_t fixed_batch_ = kBatch;
  std::string current_;  // what layers of the node at hand are named after
  std::set<std::string> names_;
  Json inputs_ = Json::array(), nodes_ = Json::array(), outputs_ = Json::array();
  Imported result_;
};

}  // namespace

Tensor from_file(const Tensor& theirs, const Port& port) { return transpose(theirs, port.order); }

Tensor to_file(const Tensor& ours, const Port& port) {
  Order back(port.order.size());
  for (size_t i = 0; i < back.size(); ++i) back[static_cast<size_t>(port.order[i])] = static_cast<int>(i);
  return transpose(ours, back);
}

ModulePtr Imported::build() const {
  ModulePtr built = Registry<Architecture>::create(model)->make();
  std::map<std::string, Tensor> left = parameters;
  for (Parameter* p : all_parameters(*built))
    if (const auto it = left.find(p->path()); it != left.end()) p->set_raw(left.extract(it).mapped());
  for (Buffer* b : all_buffers(*built))
    if (const auto it = left.find(b->path()); it != left.end()) b->set(left.extract(it).mapped());
  check(left.empty(), "the network has no parameter '{}'", left.empty() ? "" : left.begin()->first);
  return built;
}

Imported import_model(Model model, const ImportOptions& options) {
  size_t constants = 0;
  for (const Constant& constant : model.constants) constants += constant.values.size();
  const MemoryLimit limit(kMostBytes + 8 * constants);
  return Importer(model, options).run();
}

}  // namespace qgrad::onnx
