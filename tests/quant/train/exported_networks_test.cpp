// What exporters write and no activation stands before: linear bottlenecks, sums, concatenations, hard-swish.
#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "nn/layers/weighted_sum.h"
#include "nn/models/network.h"
#include "quant/export/from_trained.h"
#include "quant/export/lowering.h"
#include "quant/export/simulation.h"
#include "quant/quantizer.h"
#include "quant/ranges/stats.h"
#include "quant/train/fake_quant.h"
#include "quant/train/left_in_float.h"
#include "quant/wrappers.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;

namespace {

// An inverted bottleneck whose sum is read by a convolution, and rectified branches that are concatenated.
constexpr const char* kBottleneck =
    R"({"class": "network", "inputs": [{"name": "image", "shape": [6, 6, 3]}], "nodes": [
  {"name": "stem", "class": "Conv2d", "out": 8, "padding": 1},
  {"name": "swish", "class": "HardSwish"},
  {"name": "wide", "class": "Conv2d", "out": 16, "kernel": 1, "padding": 0},
  {"name": "cap", "class": "ReLU6"},
  {"name": "narrow", "class": "Conv2d", "out": 8, "kernel": 1, "padding": 0},
  {"name": "bn", "class": "BatchNorm2d"},
  {"name": "add", "class": "EltwiseAdd", "inputs": ["bn", "swish"]},
  {"name": "after_sum", "class": "Conv2d", "out": 8, "kernel": 1, "padding": 0},
  {"name": "left", "class": "ReLU"},
  {"name": "right", "class": "ReLU", "inputs": ["bn"]},
  {"name": "both", "class": "Concat", "dim": 3, "inputs": ["left", "right"]},
  {"name": "after_both", "class": "Conv2d", "out": 4, "padding": 1},
  {"name": "last_bn", "class": "BatchNorm2d"},
  {"name": "flat", "class": "Flatten"},
  {"name": "fc", "class": "Linear", "out": 5}]})";

const Tensor kSixBySix = test::normal_tensor({8, 6, 6, 3}, 1);
const Tensor kOneImage = Tensor::zeros({1, 6, 6, 3});

Json four_bits(std::string name) { return {{"class", std::move(name)}, {"bits_activations", 4}, {"bits_weights", 4}}; }

ModulePtr bottleneck_net(const Json& config) {
  ModulePtr model = Registry<Architecture>::create(Config::parse(kBottleneck, "model"))->build(1);
  Registry<Quantizer>::create({config, "", "quantizer"})->prepare(model, nullptr, kOneImage);
  return model;
}

ModulePtr trained_net(const Json& config) {
  ModulePtr model = bottleneck_net(config);
  model->set_training(true);
  (*model)(kSixBySix);
  model->set_training(false);
  return model;
}

}  // namespace

TEST_CASE("layers that read no activation quantize their input, by the bounds that are known of it", "[exported]") {
  for (const char* quantized : {"outputs", "inputs"}) {
    INFO(quantized);
    Json config = four_bits("LSQQuantizer");
    config["quantized_activations"] = quantized;
    const ModulePtr model = trained_net(config);
    for (const char* layer : {"after_sum", "after_both", "fc"})
      CHECK(find_module(*model, layer)->kind() == "InputQuantizationWrapper");
    const auto lowest = [&](const char* path) { return (*find_module(*model, path))(kSixBySix).grid()->qmin; };
    CHECK(lowest("after_sum.input_quant") == -8);
    CHECK(lowest("after_both.input_quant") == 0);  // two rectifiers
    CHECK(lowest("fc.input_quant") == -8);
  }
}

TEST_CASE("settings of what a layer reads are the layer's", "[exported]") {
  Json config = four_bits("LSQQuantizer");
  config["bits_first_last"] = 8;
  config["overrides"] = {{"after_sum", {{"bits_activations", nullptr}}}, {"after_both", {{"bits_activations", 6}}}};
  const ModulePtr model = trained_net(config);
  CHECK(find_module(*model, "after_sum")->kind() == "Conv2d");
  CHECK((*find_module(*model, "after_both.input_quant"))(kSixBySix).grid()->qmax == 63);
  CHECK((*find_module(*model, "fc.input_quant"))(kSixBySix).grid()->qmax == 127);
  CHECK((*find_module(*model, "cap.fake_q"))(kSixBySix).grid()->qmax == 15);
}

TEST_CASE("clips of activations with both signs and no bound have both signs", "[exported]") {
  Json with_clip = four_bits("PACTQuantizer");
  with_clip["act_clip_init_val"] = 8;
  const ModulePtr pact = trained_net(with_clip);
  CHECK(find_module(*pact, "swish.fake_q")->describe() == "bits=4, clip_val=8, signed");
  CHECK(find_module(*pact, "cap")->describe() == "bits=4, clip_val=6");
  Json config = four_bits("DorefaQuantizer");
  config["overrides"] = {{"swish", {{"act_clip_val", 3}}}};
  CHECK(find_module(*trained_net(config), "swish.fake_q")->describe() == "bits=4, clip_val=3, signed");
}

TEST_CASE("functions that are no rectifiers read 8 bits, or as many as are asked for, or floats", "[exported]") {
  Json config = four_bits("LSQQuantizer");
  CHECK(find_module(*trained_net(config), "swish.input_quant")->describe().find("bits=8") != std::string::npos);
  config["bits_function_inputs"] = 6;
  CHECK(find_module(*trained_net(config), "swish.input_quant")->describe().find("bits=6") != std::string::npos);
  config["bits_function_inputs"] = nullptr;
  const ModulePtr in_float = trained_net(config);
  CHECK(find_module(*in_float, "swish.input_quant") == nullptr);
  CHECK(find_module(*in_float, "swish.fake_q") != nullptr);
}

TEST_CASE("ranges of what functions and layers read start from the statistics of that input", "[exported]") {
  ModulePtr model = Registry<Architecture>::create(Config::parse(kBottleneck, "model"))->build(1);
  const QuantStats stats = collect_quant_stats(*model, [&] { (*model)(kSixBySix); });
  const auto quantizer =
      Registry<Quantizer>::create({four_bits("QuantAwareTrainRangeLinearQuantizer"), "", "quantizer"});
  quantizer->set_stats(stats);
  quantizer->prepare(model, nullptr, kOneImage);
  const auto lowest = [&](const char* path) {
    return dynamic_cast<FakeLinearQuantization&>(*find_module(*model, path)).tracked_min.item();
  };
  const auto of_input = [&](const char* path) { return static_cast<float>(stats.at(path).inputs.at(0).min); };
  CHECK(lowest("swish.input_quant") == of_input("swish"));
  CHECK(lowest("swish.fake_q") == static_cast<float>(stats.at("swish").output.min));
  CHECK(lowest("swish.fake_q") != lowest("swish.input_quant"));
  const auto& reader = dynamic_cast<QuantizationWrapper&>(*find_module(*model, "after_sum"));
  const auto& range =
      *dynamic_cast<QuantizationWrapper&>(*reader.quantization).quantization.as<FakeLinearQuantization>();
  CHECK(range.tracked_min.item() == of_input("after_sum"));
}

TEST_CASE("what training left in float is named with its share of the multiplications", "[exported]") {
  const auto left_of = [](const Json& config) {
    return in_words(left_in_float(*bottleneck_net(config), std::span(&kOneImage, 1)));
  };
  // 36 positions of 8 * 27, 8 * 16, 16 * 8, 8 * 8 and 4 * 144 weights, and 144 * 5 of the last layer.
  CHECK(left_of(four_bits("LSQQuantizer")) == "left in float, 19.1 % of the multiplications: stem (input)");
  Json config = four_bits("LSQQuantizer");
  config["quantized_activations"] = "inputs";
  CHECK(left_of(config) == "");
  config["overrides"] = {{"fc", {{"bits_weights", nullptr}}}};
  CHECK(left_of(config) == "left in float, 1.8 % of the multiplications: fc (weights)");
  CHECK(left_of(four_bits("QuantAwareTrainRangeLinearQuantizer")) == "");
}

TEST_CASE("networks without activations before their layers become programs that agree", "[exported]") {
  for (const char* name : {"LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "PACTQuantizer", "DorefaQuantizer",
                           "WRPNQuantizer", "QuantAwareTrainRangeLinearQuantizer"}) {
    INFO(name);
    ModulePtr model = trained_net(four_bits(name));
    deploy::to_integer_layers(model, kOneImage);
    const deploy::Engine engine(deploy::lower(*model, kOneImage).program);
    const test::Agreement agreement = test::compare_with_simulation(*model, engine, kSixBySix);
    INFO("first layer that differs: " << agreement.first);
    CHECK(agreement.layers >= 4);
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
  }
}

TEST_CASE("channels whose learned steps are tiny beside the output's become programs that agree", "[exported]") {
  for (const float factor : {1e-3f, 1e-5f, 1e-9f, 0.0f}) {
    CAPTURE(factor);
    Json config = four_bits("LSQQuantizer");
    config["per_channel_wts"] = true;
    ModulePtr model = Registry<Architecture>::create(Config::parse(kBottleneck, "model"))->build(1);
    Tensor& weight = find_module(*model, "wide")->weighted_sum()->weight.raw();
    for (size_t i = 3; i < weight.data().size(); i += 16) weight.mutable_data()[i] *= factor;
    Registry<Quantizer>::create({config, "", "quantizer"})->prepare(model, nullptr, kOneImage);
    model->set_training(true);
    (*model)(kSixBySix);
    model->set_training(false);
    deploy::to_integer_layers(model, kOneImage);
    const deploy::Engine engine(deploy::lower(*model, kOneImage).program);
    const test::Agreement agreement = test::compare_with_simulation(*model, engine, kSixBySix);
    CHECK(agreement.layers >= 4);
    CHECK(agreement.differing == 0);
  }
}
