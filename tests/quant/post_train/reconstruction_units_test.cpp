// Reconstruction: where units begin and end.
#include "quant/post_train/reconstruction_units.h"

#include <array>
#include <nlohmann/json.hpp>

#include "nn/fold.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/pool.h"
#include "nn/models/architecture.h"
#include "quant/export/every_layer.h"
#include "quant/post_train/reconstruction.h"
#include "support/catch.h"

namespace reconstruction_units_test {

using namespace qgrad;

namespace {

// By the names of the last nodes, every layer of weighted sums being one with weights.
std::vector<std::string> unit_ends(Module& model, const Tensor& example) {
  const Graph graph = Graph::trace(model, example);
  std::vector<bool> weighted, attached;
  for (const GraphNode& node : graph.nodes()) {
    weighted.push_back(node.effect.kind == Effect::Kind::sums);
    attached.push_back(node.effect.is_rectifier());
  }
  std::vector<std::string> ends;
  for (const ReconstructionUnit& unit : reconstruction_units(graph, weighted, attached))
    ends.push_back(graph[unit.exit()].name);
  return ends;
}

}  // namespace

TEST_CASE("units are the layers of a chain, with the ReLUs that follow them") {
  Sequential net;
  net.add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)))
      .add("relu1", std::make_unique<ReLU>())
      .add("pool", std::make_unique<MaxPool2d>(2))
      .add("conv2", std::make_unique<Conv2d>(square_conv(4, 4, 3, 1, 1)))
      .add("flat", std::make_unique<Flatten>())
      .add("fc", std::make_unique<Linear>(64, 5))
      .add("sigmoid", std::make_unique<Sigmoid>());
  CHECK(unit_ends(net, test::images(1, 1)) == std::vector<std::string>{"relu1", "conv2", "sigmoid"});
}

TEST_CASE("units are the blocks of a residual network, of C++ or of data") {
  ModulePtr net = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->build(1);
  const Tensor image = Tensor::zeros({1, 32, 32, 3});
  fold_batch_norms(net, Graph::trace(*net, image));
  const std::vector<std::string> ends = unit_ends(*net, image);
  CHECK(ends == std::vector<std::string>{"relu", "layer1.0.relu2", "layer1.1.relu2", "layer1.2.relu2", "layer2.0.relu2",
                                         "layer2.1.relu2", "layer2.2.relu2", "layer3.0.relu2", "layer3.1.relu2",
                                         "layer3.2.relu2", "fc"});
  const Json block = {{"name", "block"},
                      {"repeat", 2},
                      {"nodes",
                       {{{"name", "conv1"}, {"class", "Conv2d"}, {"out", 4}, {"kernel", 3}, {"padding", 1}},
                        {{"name", "relu1"}, {"class", "ReLU"}},
                        {{"name", "conv2"}, {"class", "Conv2d"}, {"out", 4}, {"kernel", 3}, {"padding", 1}},
                        {{"name", "add"}, {"class", "EltwiseAdd"}, {"inputs", {"conv2", "input"}}},
                        {{"name", "relu2"}, {"class", "ReLU"}}}}};
  const Json network = {{"class", "network"},
                        {"inputs", {{{"name", "image"}, {"shape", {8, 8, 3}}}}},
                        {"nodes",
                         {{{"name", "stem"}, {"class", "Conv2d"}, {"out", 4}, {"kernel", 1}},
                          block,
                          {{"name", "pool"}, {"class", "GlobalAvgPool2d"}},
                          {{"name", "flat"}, {"class", "Flatten"}},
                          {{"name", "fc"}, {"class", "Linear"}, {"out", 3}}}}};
  const ModulePtr data = Registry<Architecture>::create({network, "", "model"})->build(1);
  CHECK(unit_ends(*data, Tensor::zeros({1, 8, 8, 3})) ==
        std::vector<std::string>{"stem", "block.0.relu2", "block.1.relu2", "fc"});
}

// The names of what learns in a network that is quantized to 3 bits, one step each.
std::vector<std::string> learned(const Json& network, const char* unit, const Tensor& images) {
  const auto built = [&] {
    ModulePtr model = Registry<Architecture>::create({network, "", "model"})->build(1);
    model->set_training(false);
    return model;
  };
  ModulePtr reference = built();
  fold_batch_norms(reference, Graph::trace(*reference, images));
  const ModulePtr model = test::quantized(built(), Json{{"bits_weights", 3}, {"bits_activations", 3}}, images);
  std::vector<std::string> names;
  size_t last = 0, of = 0;
  const auto config =
      read_config<ReconstructionConfig>({{{"unit", unit}, {"iterations", 1}, {"batch_size", 2}}, "", ""});
  reconstruct(*model, *reference, std::array{images}, config, [&](const std::string& name, size_t done, size_t all) {
    names.push_back(name);
    last = done;
    of = all;
  });
  CHECK(last == of);
  return names;
}

TEST_CASE("units are layers, blocks or stages") {
  const Json network = {{"class", "resnet20"}};
  const Tensor images = test::normal_tensor({2, 32, 32, 3}, 1);
  CHECK(learned(network, "stage", images) ==
        std::vector<std::string>{"layer1.2.relu2", "layer2.2.relu2", "layer3.2.relu2", "fc"});
  CHECK(learned(network, "block", images).size() == 11);
  const std::vector<std::string> layers = learned(network, "layer", images);
  CHECK(layers.size() == 22);
  CHECK(std::vector(layers.begin(), layers.begin() + 3) ==
        std::vector<std::string>{"relu", "layer1.0.relu1", "layer1.0.conv2"});
  CHECK(layers.back() == "fc");
}

TEST_CASE("layers learn with their own ReLUs, whatever is computed between") {
  const auto conv = [](const char* name, const char* from) {
    return Json{{"name", name}, {"class", "Conv2d"}, {"out", 4}, {"kernel", 1}, {"inputs", {from}}};
  };
  const auto relu = [](const char* name, const char* from) {
    return Json{{"name", name}, {"class", "ReLU"}, {"inputs", {from}}};
  };
  const Json pool = {{"name", "pool"}, {"class", "MaxPool2d"}, {"kernel", 1}, {"inputs", {"stem"}}};
  const Json network = {
      {"class", "network"},
      {"inputs", {{{"name", "image"}, {"shape", {4, 4, 3}}}}},
      {"nodes",
       {conv("stem", "image"), conv("conv1", "stem"), conv("conv2", "stem"), pool, relu("relu1", "conv1"),
        relu("relu2", "conv2"), Json{{"name", "join"}, {"class", "Concat"}, {"inputs", {"relu1", "relu2", "pool"}}},
        conv("last", "join")}}};
  const Tensor images = test::normal_tensor({2, 4, 4, 3}, 1);
  CHECK(learned(network, "layer", images) == std::vector<std::string>{"stem", "relu1", "relu2", "last"});
  CHECK(learned(network, "block", images) == std::vector<std::string>{"stem", "join", "last"});
}

}  // namespace reconstruction_units_test
