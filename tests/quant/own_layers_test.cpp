// Layers of programs outside the tree: what they say of themselves is all that quantizers and export need.
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "engine/engine.h"
#include "nn/init.h"
#include "nn/layers/container.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/weighted_sum.h"
#include "quant/export/from_trained.h"
#include "quant/export/layer_lowering.h"
#include "quant/export/lowering.h"
#include "quant/export/simulation.h"
#include "quant/post_train/linear.h"
#include "quant/train/clipped_activation.h"
#include "quant/train/learned_grid.h"
#include "quant/wrappers.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;

namespace {

// A layer of weighted sums.
struct OwnConv final : WeightedSum {
  OwnConv(int64_t in, int64_t out)
      : WeightedSum(Tensor::zeros({3, 3, in, out}), false, {.padding_h = 1, .padding_w = 1}) {}
  std::string_view kind() const override { return "OwnConv"; }
};

// One with two biases.
struct TwiceBiased final : WeightedSum {
  TwiceBiased() : WeightedSum(Tensor::full({3, 3, 3, 5}, 0.1f), true, {.padding_h = 1, .padding_w = 1}) {}
  std::string_view kind() const override { return "TwiceBiased"; }
  Parameter late_bias = parameter("late_bias", Tensor::full({5}, 0.2f));
};

// A rectifier with a bound of its own.
struct OwnRectifier final : UnaryModule {
  std::string_view kind() const override { return "OwnRectifier"; }
  Effect effect() const override { return Effect::clamping({0, 1.5f}); }

 protected:
  Tensor forward(const Tensor& x) override { return clamp(x, 0, 1.5f); }
};

// A smooth function with both signs, x / (1 + |x|).
struct OwnFunction final : UnaryModule {
  std::string_view kind() const override { return "OwnFunction"; }
  Effect effect() const override {
    return {.kind = Effect::Kind::applies, .gives = {-1, 1}, .tells_apart = {-2, 2}, .clamps = false};
  }

 protected:
  Tensor forward(const Tensor& x) override { return div(x, add_scalar(abs(x), 1)); }
};

// What computes in float alone.
struct Doubled final : UnaryModule {
  std::string_view kind() const override { return "Doubled"; }

 protected:
  Tensor forward(const Tensor& x) override { return add(x, x); }
};

const Tensor kImages = test::normal_tensor({8, 4, 4, 3}, 1);
const Tensor kOne = Tensor::zeros({1, 4, 4, 3});

template <class Second = OwnFunction, class... Extra>
ModulePtr own_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<OwnConv>(3, 8)).add("bn1", std::make_unique<BatchNorm2d>(8));
  net->add("bounded", std::make_unique<OwnRectifier>()).add("conv2", std::make_unique<OwnConv>(8, 4));
  net->add("second", std::make_unique<Second>());
  (net->add(std::make_unique<Extra>()), ...);
  net->add("conv3", std::make_unique<OwnConv>(4, 5));
  initialize(*net, 3, ConvInit::uniform_fan_in);
  for (Parameter* p : all_parameters(*net))
    if (p->path() == "bn1.weight") p->set_raw(Tensor::full({8}, 3));
  return net;
}

ModulePtr quantized(ModulePtr net, const Json& config = Json::object()) {
  net->set_training(false);
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*net, [&] { (*net)(kImages); }));
  quantizer.prepare(net, nullptr, kOne);
  net->set_training(false);
  return net;
}

// Prepared, run once in training mode, and switched to evaluation.
ModulePtr trained(const Json& config, ModulePtr net = own_net()) {
  Registry<Quantizer>::create({config, "", "quantizer"})->prepare(net, nullptr, kOne);
  net->set_training(true);
  (*net)(kImages);
  net->set_training(false);
  return net;
}

void check_program(Module& model, int64_t layers) {
  const deploy::Engine engine(deploy::lower(model, kOne).program);
  const test::Agreement agreement = test::compare_with_simulation(model, engine, kImages);
  INFO("first layer that differs: " << agreement.first);
  CHECK(agreement.layers >= layers);
  CHECK(agreement.differing == 0);
  CHECK(agreement.logits_differing == 0);
}

Json bits_of_4(std::string name) { return {{"class", std::move(name)}, {"bits_activations", 4}, {"bits_weights", 4}}; }

}  // namespace

TEST_CASE("an own layer of weighted sums is initialized, folded and computes on integers") {
  ModulePtr net = own_net();
  CHECK(test::bits(find_module(*net, "conv2")->weighted_sum()->weight.raw()) !=
        test::bits(Tensor::zeros({3, 3, 8, 4})));
  const ModulePtr model = quantized(std::move(net), {{"per_channel_wts", true}});
  CHECK(find_module(*model, "conv1")->kind() == "RangeLinearQuantParamLayerWrapper");
  CHECK(find_module(*model, "bn1")->kind() == "Identity");
}

TEST_CASE("an own rectifier is computed in the layer before it, within its bound and without sign") {
  const ModulePtr model = quantized(own_net());
  CHECK(find_module(*model, "bounded")->kind() == "Identity");
  const auto& layer = dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*model, "conv1"));
  CHECK(layer.quantization().relu_cap == 1.5f);
  const Json params = layer.quant_params();
  CHECK(params.at("relu") == "ReLU1.5");
  CHECK(layer.output_grid()->scale == 127.5f / 1.5f);  // the statistics end at the bound
}

TEST_CASE("the range before an own function is cut to what it tells apart") {
  ModulePtr net = own_net();
  for (float& w : find_module(*net, "conv2")->weighted_sum()->weight.raw().mutable_data()) w *= 50;
  const ModulePtr model = quantized(std::move(net));
  CHECK(dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*model, "conv2")).output_grid()->scale == 127.5f / 2);
}

TEST_CASE("a program computes what own layers compute in simulation, and needs to know none of them") {
  check_program(*quantized(own_net()), 4);
}

TEST_CASE("all that ends with bias is one, to every quantizer") {
  const auto kind_of = [](const Json& more, const std::string& path) {
    Json config = {{"bits_bias", 8}, {"bits_weights", 2}};
    config.update(more);
    auto net = std::make_unique<Sequential>();
    net->add("conv", std::make_unique<TwiceBiased>());
    const ModulePtr model = trained(config, std::move(net));
    const std::vector<Parameter*> parameters = all_parameters(*model);
    const Module* quantization = (*std::ranges::find(parameters, path, &Parameter::path))->transform();
    CHECK(dynamic_cast<const Quantization&>(*quantization).own_bits() == (path.ends_with("bias") ? 8 : 2));
    if (const auto* learned = dynamic_cast<const LearnedQuantization*>(quantization))
      CHECK((learned->role() == Role::bias) == path.ends_with("bias"));
    return std::string(quantization->kind());
  };
  const Json sawb = {{"class", "PACTQuantizer"}, {"weights", "SAWB"}}, lsq = {{"class", "LSQQuantizer"}};
  CHECK(kind_of(sawb, "conv.weight") == "SawbQuantizeParam");
  CHECK(kind_of(lsq, "conv.weight") == "LSQQuantization");
  for (const char* bias : {"conv.bias", "conv.late_bias"}) {
    CHECK(kind_of(sawb, bias) == "DorefaQuantizeParam");
    CHECK(kind_of(lsq, bias) == "LSQQuantization");
  }
}

TEST_CASE("quantizers for training quantize what own activations give") {
  const ModulePtr lsq = trained(bits_of_4("LSQQuantizer"));
  CHECK(find_module(*lsq, "bounded")->kind() == "FakeQuantizationWrapper");
  CHECK((*find_module(*lsq, "bounded.fake_q"))(kImages).grid()->qmin == 0);
  CHECK((*find_module(*lsq, "second.fake_q"))(kImages).grid()->qmin == -8);
  const ModulePtr pact = trained(bits_of_4("PACTQuantizer"));
  CHECK(find_module(*pact, "bounded")->kind() == "LearnedClippedLinearQuantization");
  CHECK(find_module(*pact, "bounded")->parameters()[0]->raw().item() == 1.5f);
  CHECK(find_module(*pact, "second.fake_q")->kind() == "ClippedLinearQuantization");
  CHECK(find_module(*pact, "second.input_quant")->kind() == "FakeLinearQuantization");  // no rectifier: a table
}

TEST_CASE("trained models of own layers become programs") {
  for (const char* name : {"LSQQuantizer", "PACTQuantizer", "QuantAwareTrainRangeLinearQuantizer"}) {
    INFO(name);
    ModulePtr model = trained(bits_of_4(name), own_net<OwnRectifier>());
    deploy::to_integer_layers(model, kOne);
    check_program(*model, 2);
  }
}

TEST_CASE("a layer that computes in float runs in programs once the table has it") {
  const ModulePtr model = quantized(own_net<OwnFunction, Doubled>());
  const auto lowered = [&] { return deploy::lower(*model, kOne); };
  CHECK_THAT(test::error_of(lowered), Contains("5: ") && Contains("programs have no operation for it"));
  deploy::layer_lowerings()["Doubled"] = [](deploy::ProgramBuilder& program, const GraphNode& node,
                                            std::span<const int32_t> inputs) {
    const int32_t x = program.as_float(inputs[0]);
    return program.emit({.kind = deploy::OpKind::add, .inputs = {x, x}}, program.add_float(node));
  };
  check_program(*model, 5);
  deploy::layer_lowerings().erase("Doubled");
}
