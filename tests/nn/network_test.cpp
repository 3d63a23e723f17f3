#include "nn/models/network.h"

#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/fold.h"
#include "nn/graph.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace qgrad {
namespace {

std::unique_ptr<Architecture> architecture_of(const char* json) {
  return Registry<Architecture>::create(Config::parse(json, "model"));
}

// Two residual blocks with batch norms, of which only the first convolution says how many channels it reads.
constexpr const char* kResidual = R"({"class": "network", "inputs": [{"name": "image", "shape": [8, 6, 3]}], "nodes": [
  {"name": "stem", "class": "Conv2d", "in": 3, "out": 4, "padding": 1, "bias": false},
  {"name": "bn", "class": "BatchNorm2d"},
  {"name": "layer1", "repeat": 2, "nodes": [
    {"name": "conv", "class": "Conv2d", "out": 4, "kernel": 3, "padding": 1},
    {"name": "bn", "class": "BatchNorm2d"},
    {"name": "add", "class": "EltwiseAdd", "inputs": ["bn", "input"]}]},
  {"name": "head", "inputs": ["layer1"], "nodes": [
    {"name": "narrow", "class": "Conv2d", "out": 2, "kernel": [8, 6]},
    {"name": "flat", "class": "Flatten"},
    {"name": "fc", "class": "Linear", "out": 5}]}]})";

}  // namespace

TEST_CASE("a network of nodes is a graph of ordinary layers with the paths that it names") {
  const auto architecture = architecture_of(kResidual);
  CHECK(architecture->image_shape() == Shape{8, 6, 3});
  ModulePtr model = architecture->build(1);
  const Tensor x = test::normal_tensor({2, 8, 6, 3}, 1);
  model->set_training(false);
  const Tensor y = model->call(std::span(&x, 1));
  CHECK(y.shape() == Shape{2, 5});

  Graph graph = Graph::trace(*model, x);
  std::vector<std::string> names;
  for (const GraphNode& node : graph.nodes()) names.push_back(node.name);
  CHECK(names == std::vector<std::string>{"input", "stem", "bn", "layer1.0.conv", "layer1.0.bn", "layer1.0.add",
                                          "layer1.1.conv", "layer1.1.bn", "layer1.1.add", "head.narrow", "head.flat",
                                          "head.fc"});
  CHECK(graph.find("layer1.1.add")->preds.size() == 2);
  CHECK(fold_batch_norms(model, graph).size() == 3);
  CHECK(squared_distance(model->call(std::span(&x, 1)), y).item() < 1e-8f);
}

TEST_CASE("a network without training data of its own learns like any other") {
  const ModulePtr model = architecture_of(kResidual)->build(1);
  const Tensor x = test::normal_tensor({2, 8, 6, 3}, 1);
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = sum(square(model->call(std::span(&x, 1))));
  }
  tape.backward(loss);
  for (const Parameter* p : all_parameters(*model)) {
    INFO(p->path());
    CHECK(p->raw().grad().defined());
  }
}

TEST_CASE("of several outputs a network gives the numbers in a row, and says what they are") {
  const auto made = architecture_of(R"({"class": "network", "inputs": [{"shape": [4]}], "nodes": [
    {"name": "a", "class": "Linear", "out": 3},
    {"name": "b", "class": "Linear", "out": 2, "inputs": ["input"]}], "outputs": ["b", "a"]})");
  const ModulePtr model = made->build(1);
  const Tensor x = test::normal_tensor({5, 4}, 1);
  CHECK(model->call(std::span(&x, 1)).shape() == Shape{5, 5});
  auto& network = dynamic_cast<Network&>(*model);
  const std::vector<Tensor> outputs = network.separate(std::span(&x, 1));
  REQUIRE(outputs.size() == 2);
  CHECK(network.output_names()[0] == "b");
  CHECK(outputs[0].shape() == Shape{5, 2});
  CHECK(outputs[1].shape() == Shape{5, 3});
}

TEST_CASE("what is wrong with a network is said at the node's place") {
  const auto complaint = [](const std::string& nodes) {
    const std::string json = R"({"class": "network", "inputs": [{"shape": [4]}], "nodes": )" + nodes + "}";
    return test::error_of([&] { architecture_of(json.c_str()); });
  };
  CHECK_THAT(complaint(R"([{"name": "a", "class": "Linear", "out": 3, "inputs": ["imput"]}])"),
             Contains("model.nodes[0]: no node or input 'imput' stands before it (did you mean 'input'?)"));
  CHECK_THAT(complaint(R"([{"name": "a", "class": "Linaer", "out": 3}])"), Contains("did you mean 'Linear'?"));
  CHECK_THAT(complaint(R"([{"name": "a", "class": "Linear", "out": 3, "outs": 3}])"), Contains("model.nodes[0].outs"));
  CHECK_THAT(complaint(R"([{"name": "a", "class": "Linear", "out": 3}, {"name": "a", "class": "ReLU"}])"),
             Contains("model.nodes[1]: 'a' stands twice"));
  CHECK_THAT(complaint(R"([{"name": "a:b", "class": "ReLU"}])"), Contains("got \"a:b\""));
  CHECK_THAT(complaint(R"([{"name": "a", "nodes": []}])"), Contains("a block has one input and a node at least"));
  CHECK_THAT(complaint("[]"), Contains("an input and a node at least"));
  CHECK_THAT(
      complaint(R"([{"name": "a", "class": "Linear", "in": 3, "out": 3}, {"name": "b", "class": "Linear", "out": 2}])"),
      Contains("model.nodes[1]"));
}

TEST_CASE("a network's config is written as it was read, and so means the same again") {
  const Json resolved = Registry<Architecture>::resolve(Config::parse(kResidual, "model"));
  CHECK(Registry<Architecture>::resolve({resolved, "", "model"}) == resolved);
  CHECK(resolved["nodes"][2]["repeat"] == 2);
  const ModulePtr model = Registry<Architecture>::create({resolved, "", "model"})->make();
  CHECK(find_module(*model, "layer1.1.conv"));
}

}  // namespace qgrad
