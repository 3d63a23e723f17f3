// A network as data: named layers in the order in which they run, each with its inputs by name.
//
//   {"class": "network", "inputs": [{"name": "image", "shape": [32, 32, 3]}], "nodes": [
//     {"name": "conv1", "class": "Conv2d", "out": 16, "padding": 1},
//     {"name": "relu1", "class": "ReLU"},
//     {"name": "layer1", "repeat": 3, "nodes": [
//       {"name": "conv", "class": "Conv2d", "out": 16, "padding": 1},
//       {"name": "add", "class": "EltwiseAdd", "inputs": ["conv", "input"]}]},
//     {"name": "pool", "class": "GlobalAvgPool2d"},
//     {"name": "flat", "class": "Flatten"},
//     {"name": "fc", "class": "Linear", "out": 10}]}
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "core/config.h"
#include "nn/layers/layer_class.h"
#include "nn/models/architecture.h"

namespace qgrad {

struct NetworkInput {
  std::string name = "input";
  std::vector<int64_t> shape = {32, 32, 3};  // of one example, in our layout
};
inline void fields(Fields& v, NetworkInput& c) {
  v("name", c.name, {.help = "what nodes call it"});
  v("shape", c.shape, {.help = "of one example: height, width, channels of an image", .min = 0});
}

// A layer, or a block of nodes, which is there `repeat` times, one after the other.
struct NetworkNode {
  std::string name;
  // Names of nodes before it, or of inputs of the network, or "input", of the block that it stands in; none: the node
  // before it, or the block's input. A block has one.
  std::vector<std::string> inputs;
  ClassConfig<LayerClass> layer;  // null: a block
  Config place;                   // without a value
  // Layers of a block that is repeated are "layer1.0.conv", "layer1.1.conv", ..; of one that is not, "layer1.conv".
  std::optional<int> repeat;
  std::vector<NetworkNode> nodes;
};
void read_value(const Config& from, NetworkNode& value);
void write_value(const NetworkNode& value, Json& to);
void value_schema(const NetworkNode& value, Json& to);

struct NetworkConfig {
  std::vector<NetworkInput> inputs = {NetworkInput()};
  std::vector<NetworkNode> nodes;
  // Names of nodes; none: the last one. Of several, the network gives the numbers of an example in a row.
  std::vector<std::string> outputs;
};
inline void fields(Fields& v, NetworkConfig& c) {
  v("inputs", c.inputs, {.help = "what the network takes"});
  v("nodes", c.nodes, {.help = "layers and blocks of layers, in the order in which they run", .required = true});
  v("outputs", c.outputs, {.help = "names of the nodes whose results the network gives; none: the last one"});
}

// Runs the nodes in order. Every layer is a child by its whole name, so that quantizers, folding, statistics and
// checkpoints see "layer1.0.conv" as they would in a network that is written in C++.
class Network final : public Module {
 public:
  // Throws where a name is unknown, stands twice or can not be part of a path, at the node's place in the config.
  explicit Network(const NetworkConfig& config);
  std::string_view kind() const override { return "Network"; }
  const std::vector<NetworkInput>& inputs() const { return inputs_; }
  std::vector<Tensor> example() const;  // zeros, a batch of one

  const std::vector<std::string>& output_names() const { return output_names_; }
  // What a call gives in a row, output by output.
  std::vector<Tensor> separate(Inputs x);

 protected:
  Tensor forward(Inputs x) override;

 private:
  // Values are numbered: first the network's inputs, then what each step gives.
  struct Step {
    Step(Network& network, std::string name, ModulePtr module, std::vector<size_t> from)
        : layer(network, std::move(name), std::move(module)), inputs(std::move(from)) {}
    Child layer;
    std::vector<size_t> inputs;
    std::vector<size_t> last_uses;  // of values that nothing reads after this step
  };
  class Builder;
  void run(const Step& step, std::vector<Tensor>& values);
  void find_last_uses();

  std::vector<NetworkInput> inputs_;
  std::deque<Step> steps_;  // a deque: children never move
  std::vector<size_t> output_values_;
  std::vector<std::string> output_names_;
};

}  // namespace qgrad
