// Batch-norm folding, by golden vectors and on a trained network.
#include "nn/fold.h"

#include <map>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "nn/checkpoint.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/conv_transpose.h"
#include "nn/layers/norm.h"
#include "nn/models/architecture.h"
#include "support/catch.h"
#include "support/golden_net.h"
#include "support/values.h"

using namespace qgrad;

TEST_CASE("golden 08: folding for inference") {
  constexpr golden::Tolerance kTolerance{1e-5, 1e-5};
  golden::for_each_case("08_batch_norm_folding", [&](const Json&, const Json& c) {
    if (c.at("kind") != "fold_batch_norms") return golden::skipped("of simulated folding");
    ModulePtr net = golden::build_net(c.at("inputs"));
    net->set_training(false);
    const std::vector<Tensor> x = golden::net_inputs(c.at("inputs").at("x"));
    const Json& expected = c.at("expected");
    CHECK(golden::difference(golden::file_activation(net->call(x)), golden::tensor(expected.at("output_before")),
                             kTolerance) == "");

    fold_batch_norms(net, Graph::trace(*net, x));
    CHECK(golden::params_difference(*net, expected.at("params"), kTolerance) == "");
    for (const auto& [name, kind] : expected.at("classes").items()) CHECK(find_module(*net, name)->kind() == kind);
    CHECK(golden::difference(golden::file_activation(net->call(x)), golden::tensor(expected.at("output")),
                             kTolerance) == "");
    return golden::kCompared;
  });
}

TEST_CASE("folding a trained network gives the ancestor's weights to the last bit") {
  const auto trained = golden::shared_file("models/distiller_resnet20_cifar10.safetensors");
  const auto folded = golden::shared_file("models/distiller_resnet20_cifar10_bnfolded.safetensors");
  if (!golden::available(trained) || !golden::available(folded)) return;
  ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
  load_state(*model, read_checkpoint(trained));
  CHECK(fold_batch_norms(model, Graph::trace(*model, Tensor::zeros({1, 32, 32, 3}))).size() == 21);

  const NamedTensors ours = model_state(*model);
  const std::map<std::string, Tensor> by_name(ours.begin(), ours.end());
  const NamedTensors theirs = read_checkpoint(folded).tensors;
  CHECK(ours.size() == theirs.size());
  for (const auto& [name, tensor] : theirs) {
    INFO(name);
    REQUIRE(by_name.contains(name));
    CHECK(golden::difference(by_name.at(name), tensor, golden::kExact) == "");
  }
}

TEST_CASE("a batch norm is folded into a transposed convolution, group by group") {
  auto net = std::make_unique<Sequential>();
  net->add("up", std::make_unique<ConvTranspose2d>(ConvTranspose2dConfig{
                     .in = 4, .out = 6, .options = {{.stride_h = 2, .stride_w = 2, .groups = 2}}}));
  net->add("bn", std::make_unique<BatchNorm2d>(6));
  ModulePtr model = std::move(net);
  for (Parameter* p : all_parameters(*model)) p->set_raw(test::normal_tensor(p->raw().shape(), 1));
  for (Buffer* b : all_buffers(*model)) b->set(test::uniform_tensor((*b)().shape(), 2, 0.5f, 2.0f));
  model->set_training(false);
  const Tensor x = test::normal_tensor({1, 3, 3, 4}, 3), before = (*model)(x);
  REQUIRE(fold_batch_norms(model, Graph::trace(*model, x)).size() == 1);
  CHECK(golden::difference((*model)(x), before, {.relative = 1e-4, .absolute = 1e-5}) == "");
}

TEST_CASE("a convolution that is called twice is not folded") {
  struct Shared final : UnaryModule {
    Child conv = child<Conv2d>("conv", square_conv(1, 1, 1)), bn = child<BatchNorm2d>("bn", 1);
    std::string_view kind() const override { return "Shared"; }
    Tensor forward(const Tensor& x) override { return bn(conv(conv(x))); }
  };
  ModulePtr model = std::make_unique<Shared>();
  CHECK(fold_batch_norms(model, Graph::trace(*model, Tensor::zeros({1, 2, 2, 1}))).empty());
  CHECK(find_module(*model, "bn")->kind() == "BatchNorm2d");
}

TEST_CASE("a batch norm is folded along its edge, whatever was called in between") {
  struct Crossed final : UnaryModule {  // called in the order conv_a, conv_b, bn_a, bn_b
    Child conv_a = child<Conv2d>("conv_a", square_conv(1, 1, 1)),
          conv_b = child<Conv2d>("conv_b", square_conv(1, 1, 1)), bn_a = child<BatchNorm2d>("bn_a", 1),
          bn_b = child<BatchNorm2d>("bn_b", 1);
    std::string_view kind() const override { return "Crossed"; }
    Tensor forward(const Tensor& x) override {
      const Tensor a = conv_a(x), b = conv_b(x), norm_a = bn_a(a);
      return add(norm_a, bn_b(b));
    }
  };
  ModulePtr model = std::make_unique<Crossed>();
  const auto folded = fold_batch_norms(model, Graph::trace(*model, Tensor::zeros({1, 2, 2, 1})));
  REQUIRE(folded.size() == 2);
  for (const FoldedBatchNorm& pair : folded) CHECK(pair.layer.back() == pair.batch_norm.back());
}
