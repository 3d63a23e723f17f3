// Traced graphs.
#include "nn/graph.h"
#include "nn/fold.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/models/architecture.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> all;
  for (const GraphNode& node : graph.nodes()) all.push_back(node.name);
  return all;
}

std::vector<std::string> preds(const Graph& graph, std::string_view name) {
  std::vector<std::string> all;
  for (const size_t pred : graph.find(name)->preds) all.push_back(graph[pred].name);
  return all;
}

// relu is called twice; the sums are ops of the block itself.
struct Twice final : UnaryModule {
  Child relu = child<ReLU>("relu"), fc = child<Linear>("fc", 4, 4);
  std::string_view kind() const override { return "Twice"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor direct = relu(x);
    return add(add(direct, relu(fc(x))), x);
  }
};

struct Doubled final : UnaryModule {
  Child wrapped;
  explicit Doubled(ModulePtr module) : wrapped(child("", std::move(module))) {}
  std::string_view kind() const override { return "Doubled"; }

 protected:
  Tensor forward(const Tensor& x) override { return mul_scalar(wrapped(x), 2); }
};

struct Halved final : UnaryModule {
  std::string_view kind() const override { return "Halved"; }

 protected:
  Tensor forward(const Tensor& x) override { return mul_scalar(x, 0.5f); }
};

Tensor rows() { return Tensor::zeros({2, 4}); }

}  // namespace

TEST_CASE("leaf modules are nodes, linked by what they exchange") {
  Sequential model;
  model.add("fc", std::make_unique<Linear>(4, 3))
      .add("nothing", std::make_unique<Identity>())
      .add("relu", std::make_unique<ReLU>());
  const Graph graph = Graph::trace(model, rows());
  CHECK(names(graph) == std::vector<std::string>{"input", "fc", "relu"});
  CHECK(preds(graph, "fc") == std::vector<std::string>{"input"});
  CHECK(preds(graph, "relu") == std::vector<std::string>{"fc"});
  CHECK(graph.find("fc")->output_shape == Shape{2, 3});
  CHECK(graph.find("fc")->kind == "Linear");
  CHECK(graph.find("fc")->module == find_module(model, "fc"));
  CHECK(graph[graph.output()].name == "relu");
  CHECK(graph.find("nothing") == nullptr);
}

TEST_CASE("a second call of a module and the ops of a composite have names of their own") {
  Sequential model;
  model.add("block", std::make_unique<Twice>());
  const Graph graph = Graph::trace(model, rows());
  CHECK(names(graph) ==
        std::vector<std::string>{"input", "block.relu", "block.fc", "block.relu#1", "block:add", "block:add#1"});
  CHECK(preds(graph, "block:add") == std::vector<std::string>{"block.relu", "block.relu#1"});
  CHECK(preds(graph, "block:add#1") == std::vector<std::string>{"block:add", "input"});
  CHECK(graph.find("block:add")->module == nullptr);
  CHECK(graph.find("block:add")->output_shape == Shape{2, 4});
  CHECK(graph.find("block.relu#1")->call == 1);
  CHECK(graph[0].succs.size() == 3);
}

TEST_CASE("a wrapper's own op shows beside the module that it wraps") {
  Sequential model;
  model.add("relu1", std::make_unique<Doubled>(std::make_unique<ReLU>()));
  CHECK(names(Graph::trace(model, rows())) == std::vector<std::string>{"input", "relu1", "relu1:mul_scalar"});
}

TEST_CASE("a parameter's transform belongs to the layer and is no node") {
  Sequential model;
  model.add("fc", std::make_unique<Linear>(4, 4));
  model[0].as<Linear>()->weight.set_transform(std::make_unique<Halved>());
  CHECK(names(Graph::trace(model, rows())) == std::vector<std::string>{"input", "fc"});
}

TEST_CASE("several inputs are numbered, and an input used twice is listed twice") {
  EltwiseAdd add;
  const Tensor x = rows();
  const Tensor both[] = {x, rows()};
  const Graph two = Graph::trace(add, both);
  CHECK(names(two) == std::vector<std::string>{"input", "input1", ""});
  CHECK(two[2].preds == std::vector<size_t>{0, 1});

  struct Squared final : UnaryModule {
    Child mult = child<EltwiseMult>("mult");
    std::string_view kind() const override { return "Squared"; }
    Tensor forward(const Tensor& t) override { return mult(t, t); }
  } squared;
  const Graph twice = Graph::trace(squared, x);
  CHECK(preds(twice, "mult") == std::vector<std::string>{"input", "input"});
  CHECK(twice[0].succs.size() == 2);
}

TEST_CASE("tracing leaves training flags, statistics, gradients and the caller's tape alone") {
  Sequential model;
  model.add("conv", std::make_unique<Conv2d>(square_conv(1, 2, 3)))
      .add("bn", std::make_unique<BatchNorm2d>(2))
      .add("frozen", std::make_unique<BatchNorm2d>(2));
  model[2]->set_training(false);
  const auto& bn = *model[1].as<BatchNorm2d>();
  const Tensor before = bn.running_var().clone();
  Tape tape;
  const Tape::Recording recording(tape);
  Graph::trace(model, Tensor::full({2, 4, 4, 1}, 3));
  CHECK(tape.nodes().empty());
  CHECK(model.training());
  CHECK(model[0]->training());
  CHECK(bn.training());
  CHECK_FALSE(model[2]->training());
  CHECK(std::ranges::equal(before.data(), bn.running_var().data()));
  CHECK_FALSE(model[0].as<Conv2d>()->weight.raw().grad().defined());
}

TEST_CASE("training flags are restored when forward throws") {
  Sequential model;
  model.add<Linear>(5, 5);
  CHECK_THROWS_AS(Graph::trace(model, rows()), Error);
  CHECK(model.training());
}

TEST_CASE("foldable pairs need a single consumer on the first side and single calls on both") {
  const Tensor image = Tensor::zeros({1, 2, 2, 1});
  Sequential straight;
  straight.add("conv", std::make_unique<Conv2d>(square_conv(1, 2, 1))).add("bn", std::make_unique<BatchNorm2d>(2));
  const Graph graph = Graph::trace(straight, image);
  CHECK(graph.sole_successor(*graph.find("conv")) == graph.find("bn"));
  CHECK(graph.sole_successor(*graph.find("bn")) == nullptr);
  const auto found = foldable_batch_norms(graph);
  REQUIRE(found.size() == 1);
  CHECK(found[0].layer == "conv");
  CHECK(found[0].batch_norm == "bn");

  struct Branching final : UnaryModule {
    Child conv = child<Conv2d>("conv", square_conv(1, 2, 1)), bn = child<BatchNorm2d>("bn", 2);
    std::string_view kind() const override { return "Branching"; }
    Tensor forward(const Tensor& x) override {
      const Tensor y = conv(x);
      return add(bn(y), y);
    }
  } branching;
  CHECK(foldable_batch_norms(Graph::trace(branching, image)).empty());

  struct Repeated final : UnaryModule {
    Child conv = child<Conv2d>("conv", square_conv(1, 1, 1)), bn = child<BatchNorm2d>("bn", 1);
    std::string_view kind() const override { return "Repeated"; }
    Tensor forward(const Tensor& x) override { return bn(conv(conv(x))); }
  } repeated;
  CHECK(foldable_batch_norms(Graph::trace(repeated, image)).empty());
}

TEST_CASE("what the model returns has a consumer outside") {
  struct Tail final : UnaryModule {
    Child fc = child<Linear>("fc", 4, 4), unused = child<ReLU>("unused");
    std::string_view kind() const override { return "Tail"; }
    Tensor forward(const Tensor& x) override {
      const Tensor y = fc(x);
      unused(y);
      return y;
    }
  } model;
  const Graph graph = Graph::trace(model, rows());
  CHECK(graph[graph.output()].name == "fc");
  CHECK(graph.only_successor(*graph.find("fc")) == nullptr);
}

TEST_CASE("a residual net shows its additions with both inputs in order") {
  const auto model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->build(1);
  const Graph graph = Graph::trace(*model, Tensor::zeros({1, 32, 32, 3}));
  CHECK(preds(graph, "layer1.0.residual_eltwiseadd") == std::vector<std::string>{"relu", "layer1.0.bn2"});
  CHECK(preds(graph, "layer2.0.residual_eltwiseadd") ==
        std::vector<std::string>{"layer2.0.downsample.1", "layer2.0.bn2"});
  CHECK(preds(graph, "fc") == std::vector<std::string>{":flatten"});
  CHECK(graph.find("layer3.2.relu2")->output_shape == Shape{1, 8, 8, 64});
  CHECK(foldable_batch_norms(graph).size() == 21);
}
