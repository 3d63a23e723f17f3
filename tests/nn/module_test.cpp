// The three mechanisms: replacing children, transforming parameters, observing calls.
#include "nn/module.h"

#include "core/ops.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "support/catch.h"

namespace module_test {

using namespace qgrad;

namespace {

struct Block final : UnaryModule {
  Child conv1 = child<Conv2d>("conv1", square_conv(1, 2, 3)), bn1 = child<BatchNorm2d>("bn1", 2),
        relu1 = child<ReLU>("relu1");
  std::string_view kind() const override { return "Block"; }

 protected:
  Tensor forward(const Tensor& x) override { return relu1(bn1(conv1(x))); }
};

ModulePtr two_blocks() {
  auto model = std::make_unique<Sequential>();
  model->add<Block>().add("head", std::make_unique<Block>());
  return model;
}

// Shares the path of what it wraps, and doubles its output.
struct Doubled final : UnaryModule {
  Child wrapped;
  explicit Doubled(ModulePtr module) : wrapped(child("", std::move(module))) {}
  std::string_view kind() const override { return "Doubled"; }

 protected:
  Tensor forward(const Tensor& x) override { return mul_scalar(wrapped(x), 2); }
};

struct Scaled final : UnaryModule {
  Parameter factor = parameter("factor", Tensor::scalar(3));
  Buffer calls = buffer("calls", Tensor::scalar(0));
  std::string_view kind() const override { return "Scaled"; }

 protected:
  Tensor forward(const Tensor& x) override { return mul(x, factor()); }
};

std::vector<std::string> paths(Module& root) {
  std::vector<std::string> all;
  visit_modules(root, [&](Module& m) { all.push_back(m.path()); });
  return all;
}

Tensor row() { return Tensor::from({1, 2}, std::vector<float>{-1, 4}); }

}  // namespace

TEST_CASE("paths join the names of slots, and parents are visited before children") {
  const ModulePtr model = two_blocks();
  CHECK(paths(*model) == std::vector<std::string>{"", "0", "0.conv1", "0.bn1", "0.relu1", "head", "head.conv1",
                                                  "head.bn1", "head.relu1"});
  std::vector<std::string> names;
  for (const Parameter* p : all_parameters(*model)) names.push_back(p->path());
  CHECK(names == std::vector<std::string>{"0.conv1.weight", "0.conv1.bias", "0.bn1.weight", "0.bn1.bias",
                                          "head.conv1.weight", "head.conv1.bias", "head.bn1.weight", "head.bn1.bias"});
}

TEST_CASE("an absent parameter is undefined and in no list") {
  Linear layer(2, 3, /*with_bias=*/false);
  CHECK_FALSE(layer.bias.defined());
  CHECK_FALSE(layer.bias().defined());
  CHECK(all_parameters(layer).size() == 1);
}

TEST_CASE("rewrite visits children first, with whole paths, and puts back what it is given") {
  ModulePtr model = two_blocks();
  std::vector<std::string> visited;
  model = rewrite(std::move(model), [&](const std::string& path, ModulePtr module) -> ModulePtr {
    visited.push_back(path);
    if (path == "head.relu1") return std::make_unique<Identity>();
    return module;
  });
  CHECK(visited == std::vector<std::string>{"0.conv1", "0.bn1", "0.relu1", "0", "head.conv1", "head.bn1", "head.relu1",
                                            "head", ""});
  CHECK(find_module(*model, "head.relu1")->kind() == "Identity");
  CHECK(find_module(*model, "0.relu1")->kind() == "ReLU");
}

TEST_CASE("rewrite can replace the root") {
  ModulePtr model = std::make_unique<ReLU>();
  model = rewrite(std::move(model),
                  [](const std::string&, ModulePtr m) -> ModulePtr { return std::make_unique<Doubled>(std::move(m)); });
  CHECK((*model)(row()).data()[1] == 8);
}

TEST_CASE("a replaced child is what forward calls, and a wrapper shares the path of what it wraps") {
  Sequential root;
  root.add<ReLU>();
  CHECK(root(row()).data()[1] == 4);
  root[0].put(std::make_unique<Doubled>(root[0].take()));
  CHECK(root(row()).data()[1] == 8);
  CHECK(paths(root) == std::vector<std::string>{"", "0", "0"});
  CHECK(find_module(root, "0")->kind() == "Doubled");
}

TEST_CASE("wrapping a layer does not rename its parameters") {
  Sequential root;
  root.add<Linear>(2, 2);
  root[0].put(std::make_unique<Doubled>(root[0].take()));
  CHECK(all_parameters(root)[0]->path() == "0.weight");
}

TEST_CASE("training mode reaches children and transforms, and what is put into a slot later") {
  Sequential root;
  root.add<Linear>(2, 2);
  auto& layer = *root[0].as<Linear>();
  layer.weight.set_transform(std::make_unique<Scaled>());
  root.set_training(false);
  CHECK_FALSE(layer.training());
  CHECK_FALSE(layer.weight.transform()->training());
  root[0].put(std::make_unique<ReLU>());
  CHECK_FALSE(root[0]->training());
}

TEST_CASE("a transformed parameter gives transform(raw), and its own parameters carry its name") {
  Linear layer(2, 1, /*with_bias=*/false);
  layer.weight.set_raw(Tensor::from({2, 1}, std::vector<float>{1, 10}));
  CHECK(layer(row()).item() == 39);
  layer.weight.set_transform(std::make_unique<Scaled>());
  CHECK(layer.weight().data()[1] == 30);
  CHECK(layer.weight.raw().data()[1] == 10);
  CHECK(layer(row()).item() == 117);
  REQUIRE(all_parameters(layer).size() == 2);
  CHECK(all_parameters(layer)[1]->path() == "weight_quant.factor");
  CHECK(all_buffers(layer)[0]->path() == "weight_quant.calls");
}

TEST_CASE("gradients reach the raw parameter and the transform's own through the transform") {
  Linear layer(2, 1, /*with_bias=*/false);
  layer.weight.set_raw(Tensor::from({2, 1}, std::vector<float>{1, 10}));
  layer.weight.set_transform(std::make_unique<Scaled>());
  Tape tape;
  {
    const Tape::Recording recording(tape);
    tape.backward(sum(layer(row())));
  }
  CHECK(layer.weight.raw().grad().data()[1] == 12);            // x * factor
  CHECK(all_parameters(layer)[1]->raw().grad().item() == 39);  // x . weight
}

TEST_CASE("observers see every call, inner ones first to leave, and only while they are alive") {
  struct Log final : CallObserver {
    std::vector<std::string> lines;
    void enter(Module& m, Inputs) override { lines.push_back("enter " + m.path()); }
    void leave(Module& m, Inputs x, const Tensor& y) override {
      lines.push_back(fmt::format("leave {} {} {}", m.path(), x[0].shape(), y.shape()));
    }
  } log;
  Sequential root;
  root.add("fc", std::make_unique<Linear>(2, 3)).add("relu", std::make_unique<ReLU>());
  {
    const Observing observing(log);
    root(row());
  }
  root(row());
  CHECK(log.lines == std::vector<std::string>{"enter ", "enter fc", "leave fc [1,2] [1,3]", "enter relu",
                                              "leave relu [1,3] [1,3]", "leave  [1,2] [1,3]"});
}

TEST_CASE("an error names the module it happened in, once") {
  auto inner = std::make_unique<Sequential>();
  inner->add("fc", std::make_unique<Linear>(3, 1));
  Sequential root;
  root.add("head", std::move(inner));
  std::string what;
  try {
    root(row());
  } catch (const Error& e) {
    what = e.what();
  }
  CHECK(what.ends_with(", in head.fc"));
  CHECK(what.find(", in ") == what.rfind(", in "));
}

TEST_CASE("a model prints one module a line, with details and transforms") {
  Sequential root;
  root.add<Block>().add("fc", std::make_unique<Linear>(2, 3, /*with_bias=*/false));
  root[1].as<Linear>()->weight.set_transform(std::make_unique<Scaled>());
  CHECK(to_string(root) ==
        "Sequential\n"
        "  (0): Block\n"
        "    (conv1): Conv2d(1, 2, kernel=3x3, stride=1x1)\n"
        "    (bn1): BatchNorm2d(2, eps=1e-05, momentum=0.1)\n"
        "    (relu1): ReLU\n"
        "  (fc): Linear(2, 3, bias=false)\n"
        "    (weight ->): Scaled\n");
}

}  // namespace module_test
