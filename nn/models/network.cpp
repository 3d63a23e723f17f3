// From nodes to steps, and running them.
#include "nn/models/network.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/ops.h"
#include "core/tape.h"

namespace qgrad {
namespace {

constexpr size_t kMostNodes = 100'000;

// Of a node that is a layer, its settings are those of the class; of a block, these.
struct NodeConfig {
  std::string name;
  std::vector<std::string> inputs;
};
void fields(Fields& v, NodeConfig& c) {
  v("name", c.name,
    {.help = "the node's name: letters, digits, _ and -, in parts with dots between", .required = true});
  v("inputs", c.inputs, {.help = "names of earlier nodes, or of inputs; none: the node before"});
}
struct BlockConfig : NodeConfig {
  std::optional<int> repeat;
  std::vector<NetworkNode> nodes;
};
void fields(Fields& v, BlockConfig& c) {
  fields(v, static_cast<NodeConfig&>(c));
  v("repeat", c.repeat, {.help = "how often the block is there; null: once, its layers without a number", .min = 1});
  v("nodes", c.nodes, {.help = "layers and blocks of layers", .required = true});
}

void check_name(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; };
  const bool has_parts =
      !name.empty() && name.front() != '.' && name.back() != '.' && name.find("..") == std::string::npos;
  check(has_parts && std::ranges::all_of(name, allowed),
        "expected a name of letters, digits, _ and -, in parts with dots between, got {}",
        detail::describe(Json(name)));
}

std::vector<int64_t> batch_of_one(const std::vector<int64_t>& shape) {
  std::vector<int64_t> dims{1};
  dims.insert(dims.end(), shape.begin(), shape.end());
  return dims;
}

}  // namespace

void read_value(const Config& from, NetworkNode& value) {
  from.expect_object();
  value.place = from.place();
  if (from.has("nodes")) {
    auto block = read_config<BlockConfig>(from);
    value.name = std::move(block.name);
    value.inputs = std::move(block.inputs);
    value.repeat = block.repeat;
    value.nodes = std::move(block.nodes);
    return;
  }
  Config node = from.place(), layer = from;
  node.json() = Json::object();
  for (const char* key : {"name", "inputs"}) {
    if (from.has(key)) node.json()[key] = from.json().at(key);
    layer.json().erase(key);
  }
  const auto own = read_config<NodeConfig>(node);
  value.name = own.name;
  value.inputs = own.inputs;
  read_value(layer, value.layer);
}

void write_value(const NetworkNode& value, Json& to) {
  to = {{"name", value.name}};
  if (value.layer.is_null()) {
    if (value.repeat) to["repeat"] = *value.repeat;
    to["nodes"] = write_config(value.nodes);
  } else {
    to.update(value.layer.json());
  }
  if (!value.inputs.empty()) to["inputs"] = value.inputs;
}

// One level of blocks: what stands in one is described as any object.
void value_schema(const NetworkNode&, Json& to) {
  const Json node = detail::schema_of(detail::form_of<NodeConfig>(), std::make_unique<NodeConfig>().get());
  to = Registry<LayerClass>::instance().schema();
  for (Json& layer : to["oneOf"]) {
    Json properties = node.at("properties");
    properties.update(layer.at("properties"));
    layer["properties"] = std::move(properties);
    layer["required"].push_back("name");
  }
  Json block{{"type", "object"}, {"properties", node.at("properties")}, {"required", {"name", "nodes"}}};
  block["properties"]["repeat"] = {{"type", "integer"}, {"minimum", 1}};
  block["properties"]["nodes"] = {{"type", "array"}, {"items", {{"type", "object"}}}};
  to["oneOf"].push_back(std::move(block));
}

// Adds the steps of nodes and finds what their inputs stand for.
class Network::Builder {
 public:
  explicit Builder(Network& network) : network_(network) {}

  void add_all(const NetworkConfig& config) {
    Scope outer{.values = {}, .parent = nullptr};
    for (size_t i = 0; i < config.inputs.size(); ++i)
      check(outer.values.emplace(config.inputs[i].name, i).second, "two inputs are named '{}'", config.inputs[i].name);
    values_ = network_.example();
    check(!config.inputs.empty() && !config.nodes.empty(), "a network has an input and a node at least");
    outer.last = add_nodes(config.nodes, "", outer, 0);
    for (const std::string& name : config.outputs) {
      network_.output_values_.push_back(find(outer, name));
      network_.output_names_.push_back(name);
    }
    if (config.outputs.empty()) {
      network_.output_values_ = {outer.last};
      network_.output_names_ = {config.nodes.back().name};
    }
  }

 private:
  // Names of a block, within those around it.
  struct Scope {
    std::map<std::string, size_t> values;
    const Scope* parent;
    size_t last = 0;
  };

  size_t add_nodes(const std::vector<NetworkNode>& nodes, const std::string& prefix, Scope& scope, size_t input) {
    scope.last = input;
    for (const NetworkNode& node : nodes)
      placed_at(node.place, [&] {
        check_name(node.name);
        check(!scope.values.contains(node.name), "'{}' stands twice", node.name);
        scope.last = add(node, prefix + node.name, scope);
        scope.values[node.name] = scope.last;
      });
    return scope.last;
  }

  size_t add(const NetworkNode& node, const std::string& path, const Scope& scope) {
    std::vector<size_t> inputs;
    for (const std::string& name : node.inputs) inputs.push_back(find(scope, name));
    if (node.layer.is_null()) return add_block(node, path, scope, inputs);
    if (inputs.empty() && node.layer.json().at("class") != "Constant") inputs.push_back(scope.last);
    return add_layer(node, path, std::move(inputs));
  }

  size_t add_block(const NetworkNode& node, const std::string& path, const Scope& scope,
                   const std::vector<size_t>& inputs) {
    check(inputs.size() <= 1 && !node.nodes.empty(), "a block has one input and a node at least");
    size_t last = inputs.empty() ? scope.last : inputs[0];
    for (int i = 0; i < node.repeat.value_or(1); ++i) {
      Scope inner{.values = {{"input", last}}, .parent = &scope};
      last = add_nodes(node.nodes, node.repeat ? fmt::format("{}.{}.", path, i) : path + ".", inner, last);
    }
    return last;
  }

  size_t add_layer(const NetworkNode& node, const std::string& path, std::vector<size_t> inputs) {
    check(paths_.insert(path).second, "there are two layers '{}'", path);
    check(network_.steps_.size() < kMostNodes, "more than {} layers", kMostNodes);
    const auto input_shape = [&] {
      check(!inputs.empty(), "it has no input to take a size from");
      return value(inputs[0]).shape();
    };
    network_.steps_.emplace_back(network_, path, Registry<LayerClass>::create(node.layer)->make(input_shape), inputs);
    return network_.inputs_.size() + network_.steps_.size() - 1;
  }

  static size_t find(const Scope& scope, const std::string& name) {
    std::vector<std::string> known;
    for (const Scope* s = &scope; s; s = s->parent) {
      if (const auto it = s->values.find(name); it != s->values.end()) return it->second;
      for (const auto& [other, value] : s->values) known.push_back(other);
    }
    fail("no node or input '{}' stands before it{}", name, did_you_mean(name, known));
  }

  // Of the example; all before it are computed as well.
  const Tensor& value(size_t place) {
    const Tape::Paused paused;
    const EvaluationMode evaluation(network_);
    while (values_.size() <= place) {
      const Step& step = network_.steps_[values_.size() - network_.inputs_.size()];
      network_.run(step, values_);
    }
    return values_[place];
  }

  Network& network_;
  std::set<std::string> paths_;
  std::vector<Tensor> values_;
};

Network::Network(const NetworkConfig& config) : inputs_(config.inputs) {
  Builder(*this).add_all(config);
  find_last_uses();
}

std::vector<Tensor> Network::example() const {
  std::vector<Tensor> zeros;
  for (const NetworkInput& input : inputs_) zeros.push_back(Tensor::zeros(Shape(batch_of_one(input.shape))));
  return zeros;
}

void Network::find_last_uses() {
  std::map<size_t, Step*> last;
  for (Step& step : steps_)
    for (const size_t value : step.inputs) last[value] = &step;
  for (const size_t value : output_values_) last.erase(value);
  for (const auto& [value, step] : last) step->last_uses.push_back(value);
}

void Network::run(const Step& step, std::vector<Tensor>& values) {
  std::vector<Tensor> inputs;
  for (const size_t value : step.inputs) inputs.push_back(values[value]);
  values.push_back(step.layer->call(inputs));
}

std::vector<Tensor> Network::separate(Inputs x) {
  check(x.size() == inputs_.size(), "the network takes {} inputs, got {}", inputs_.size(), x.size());
  std::vector<Tensor> values(x.begin(), x.end());
  values.reserve(values.size() + steps_.size());
  for (const Step& step : steps_) {
    run(step, values);
    for (const size_t value : step.last_uses) values[value] = {};
  }
  std::vector<Tensor> results;
  for (const size_t value : output_values_) results.push_back(values[value]);
  return results;
}

// Blocks of a batch go through a network on several threads at once: nothing of a call is kept.
Tensor Network::forward(Inputs x) {
  std::vector<Tensor> results = separate(x);
  if (results.size() == 1) return results[0];
  for (Tensor& result : results) result = flatten(result);
  return concat(results, 1);
}

namespace {

class NetworkArchitecture final : public Architecture {
 public:
  explicit NetworkArchitecture(const NetworkConfig& config) : config_(config) { Network check(config); }
  Shape image_shape() const override { return Shape(config_.inputs[0].shape); }
  bool takes(const Shape& image) const override {
    const Shape own = image_shape();
    return config_.inputs.size() == 1 && own.rank() == 3 && image.rank() == 3 && image[2] == own[2];
  }
  ModulePtr make() const override { return std::make_unique<Network>(config_); }
  std::vector<Tensor> example() const override { return Network(config_).example(); }

 private:
  NetworkConfig config_;
};

const Registered<Architecture, NetworkArchitecture, NetworkConfig> network{
    "network", "a network as data: nodes and their inputs, as `qgrad import` makes it"};

}  // namespace
}  // namespace qgrad
