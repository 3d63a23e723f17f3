// What is simulated is what runs: lowered models against the modules they come from, integer by integer.
#include "quant/export/lowering.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "nn/models/architecture.h"
#include "quant/export/every_layer.h"
#include "quant/export/simulation.h"
#include "quant/post_train/linear.h"
#include "quant/post_train/post_train_golden.h"
#include "quant/resnet_material.h"
#include "support/allocations.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using golden::Material;
using test::error_of;
using test::every_layer;
using test::images;
using test::quantized;

namespace {

constexpr const char* kModes[] = {"SYMMETRIC", "SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED"};

// Of the net of every layer: of its two that only move numbers, one behind the other, one operation is made.
constexpr int64_t kLayers = 17;

void check_equal(Module& model, const deploy::Engine& engine, const Tensor& x, int64_t layers) {
  const test::Agreement agreement = test::compare_with_simulation(model, engine, x);
  INFO("first layer that differs: " << agreement.first);
  CHECK(agreement.layers == layers);
  CHECK(agreement.differing == 0);
  CHECK(agreement.logits_differing == 0);
}

void check_equal_on_test_set(Module& model, const Material& material, int64_t layers) {
  const deploy::Engine engine(deploy::lower(model, material.batch(0, 1)).program);
  for (int64_t first = 0; first < 10000; first += 250) check_equal(model, engine, material.batch(first, 250), layers);
}

std::string why_not(ModulePtr net, const Json& config) {
  const ModulePtr model = quantized(std::move(net), config, images(4, 1));
  return error_of([&] { deploy::lower(*model, images(1, 2)); });
}

// A trained ResNet-20, quantized with its real statistics.
ModulePtr quantized_resnet(const Material& material, const Json& config) {
  ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
  load_state(*model, material.trained);
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
  quantizer.set_stats(stats_from_json(golden::stats_object(material.stats.at("stats")), "golden statistics"));
  quantizer.prepare(model, nullptr, material.batch(0, 1));
  model->set_training(false);
  return model;
}

struct Bits {
  int weights, activations;
};
std::vector<Json> settings_of(const std::vector<std::string>& modes, const std::vector<Bits>& widths) {
  std::vector<Json> settings;
  for (const std::string& mode : modes)
    for (const bool per_channel : {false, true})
      for (const auto& [weights, activations] : widths)
        settings.push_back({{"mode", mode},
                            {"per_channel_wts", per_channel},
                            {"bits_weights", weights},
                            {"bits_activations", activations}});
  return settings;
}
std::vector<Json> all_settings() {
  return settings_of({std::begin(kModes), std::end(kModes)}, {{8, 8}, {4, 8}, {4, 4}, {2, 3}});
}
// Those that are compared on whole data sets.
std::vector<Json> main_settings() {
  return settings_of({"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}, {{8, 8}, {4, 8}, {4, 4}});
}

}  // namespace

TEST_CASE("a lowered net of every layer computes the simulation's integers in every mode and width") {
  for (const Json& settings : all_settings()) {
    INFO(settings.dump());
    const ModulePtr model = quantized(every_layer(), settings, images(4, 1));
    const deploy::Engine engine(deploy::lower(*model, images(1, 2)).program);
    check_equal(*model, engine, images(5, 3), kLayers);
    check_equal(*model, engine, test::normal_tensor({1, 8, 8, 3}, 4, 100.0f), kLayers);
  }
}

TEST_CASE("ONNX's rounding differs from Distiller's where a pixel is a tie") {
  // Grids of the same scale with an odd zero point, and values halfway between their integers.
  const Grid grid{2.0f, -5, 0, 255};
  const Tensor x = Tensor::from({1, 4}, std::vector<float>{0.25f, 0.75f, 1.25f, -0.25f});
  const auto integers = [&](Arithmetic arithmetic) {
    const Tensor q = to_integers(x, grid, arithmetic);
    return std::vector<float>(q.data().begin(), q.data().end());
  };
  CHECK(integers(Arithmetic::distiller) == std::vector<float>{1, 1, 3, -1});  // 5.5, 6.5, 7.5 and 4.5 to even, less 5
  CHECK(integers(Arithmetic::onnx) == std::vector<float>{0, 2, 2, 0});        // 0.5, 1.5, 2.5 and -0.5 to even
}

TEST_CASE("ONNX's rounding needs fixed scales, and has no approximated ones") {
  ModulePtr dynamic = every_layer();
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({Json::object(), "", "quantizer"}));
  CHECK_THAT(error_of([&] { quantizer.prepare(dynamic, nullptr, images(1, 2)); }), Contains("calibration statistics"));
  CHECK_THAT(error_of([&] {
               quantized(every_layer(), {{"scale_approx_mult_bits", 8}}, images(4, 1));
             }),
             Contains("scale_approx_mult_bits"));
}

TEST_CASE("short accumulators and clipped ranges are lowered too") {
  for (const Json& settings : {Json{{"bits_accum", 28}}, Json{{"bits_accum", 28}, {"mode", "ASYMMETRIC_UNSIGNED"}},
                               Json{{"clip_acts", "AVG"}}}) {
    INFO(settings.dump());
    const ModulePtr model = quantized(every_layer(), settings, images(4, 1));
    check_equal(*model, deploy::Engine(deploy::lower(*model, images(1, 2)).program), images(3, 3), kLayers);
  }
}

TEST_CASE("the engine gives the same bits for any batch and any number of threads") {
  const ModulePtr model = quantized(every_layer(), Json::object(), images(4, 1));
  const deploy::Engine engine(deploy::lower(*model, images(1, 2)).program);
  const Tensor x = images(7, 3);
  std::vector<float> whole(35), again(35), one_by_one(35);
  engine.run(x.data(), whole);
  for (int64_t i = 0; i < 7; ++i)
    engine.run(x.data().subspan(static_cast<size_t>(i * 192), 192),
               std::span(one_by_one).subspan(static_cast<size_t>(i * 5), 5));
  const int threads = num_threads();
  set_num_threads(3);
  engine.run(x.data(), again);
  set_num_threads(threads);
  CHECK(test::bits(whole) == test::bits(one_by_one));
  CHECK(test::bits(whole) == test::bits(again));
  CHECK_THAT(error_of([&] { engine.run(x.data().subspan(1), whole); }),
             Contains("192 numbers in and 5 for each image"));
}

TEST_CASE("running an image allocates nothing once the engine has run") {
  const ModulePtr model = quantized(every_layer(), Json::object(), images(4, 1));
  const deploy::Engine engine(deploy::lower(*model, images(1, 2)).program);
  const Tensor x = images(1, 3);
  std::vector<float> y(5);
  engine.run(x.data(), y);
  const int64_t before = test::allocations();
  for (int i = 0; i < 10; ++i) engine.run(x.data(), y);
  CHECK(test::allocations() == before);
}

TEST_CASE("layers without bits stay in float inside a program") {
  const Json none = {{"bits_weights", nullptr}, {"bits_activations", nullptr}};
  for (const char* path : {"stem", "depthwise", "narrow", "strided", "average", "add", "concat", "mult", "fc"}) {
    INFO(path);
    const ModulePtr model = quantized(every_layer(), {{"overrides", {{path, none}}}}, images(4, 1));
    const deploy::Engine engine(deploy::lower(*model, images(1, 2)).program);
    const test::Agreement agreement = test::compare_with_simulation(*model, engine, images(5, 3));
    INFO("first layer that differs: " << agreement.first);
    CHECK(agreement.layers >= 12);
    CHECK(agreement.differing == 0);
  }
}

TEST_CASE("what can not be lowered is refused with the layer and the reason") {
  CHECK_THAT(why_not(every_layer(), {{"overrides", {{"tanh", {{"bits_activations", nullptr}}}}}}),
             Contains("tanh") && Contains("no form in a program"));
  CHECK_THAT(why_not(every_layer(), {{"bits_activations", 9}}),
             Contains("stem: Conv2d can not be lowered") && Contains("more than 8 bits"));
  CHECK_THAT(why_not(every_layer(), {{"bits_weights", 10}}), Contains("stem") && Contains("no integer of 8 bits"));
  CHECK_THAT(why_not(every_layer(), {{"rounding", "distiller"}}),
             Contains("stem") && Contains("\"rounding\": \"onnx\""));
  ModulePtr dynamic = every_layer();
  PostTrainLinearQuantizer(read_config<PostTrainLinearConfig>({{{"rounding", "distiller"}}, "", "quantizer"}))
      .prepare(dynamic, nullptr, images(1, 2));
  dynamic->set_training(false);
  CHECK_THAT(error_of([&] { deploy::lower(*dynamic, images(1, 2)); }), Contains("stem") && Contains("statistics"));
}

TEST_CASE("the program of a network with several outputs gives one after the other") {
  const Config config = Config::parse(R"({"class": "network", "inputs": [{"name": "image", "shape": [8, 8, 3]}],
    "outputs": ["boxes", "scores"], "nodes": [
      {"name": "stem", "class": "Conv2d", "out": 4, "padding": 1},
      {"name": "relu", "class": "ReLU"},
      {"name": "boxes", "class": "Conv2d", "out": 3, "kernel": 3},
      {"name": "pool", "class": "GlobalAvgPool2d", "inputs": ["relu"]},
      {"name": "flat", "class": "Flatten"},
      {"name": "scores", "class": "Linear", "out": 2}]})",
                                      "model");
  ModulePtr net = Registry<Architecture>::create(config)->build(1);
  net->set_training(false);
  const ModulePtr model = quantized(std::move(net), Json::object(), images(4, 1));
  const deploy::Engine engine(deploy::lower(*model, images(1, 2)).program);
  CHECK(engine.output_count() == 6 * 6 * 3 + 2);
  check_equal(*model, engine, images(5, 3), 4);  // the average is flat as it is
}

TEST_CASE("programs that an engine could not run are refused") {
  const ModulePtr model = quantized(every_layer(), Json::object(), images(4, 1));
  const deploy::Program good = deploy::lower(*model, images(1, 2)).program;
  const auto refused = [&](auto&& spoil) {
    deploy::Program program = good;
    spoil(program);
    return error_of([&] { deploy::Engine{std::move(program)}; });
  };
  const auto conv =
      static_cast<size_t>(std::ranges::find(good.ops, deploy::OpKind::conv, &deploy::Op::kind) - good.ops.begin());
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].inputs[0] = 10000; }), Contains("input 10000 was not made before"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].output = p.input; }), Contains("can not be made"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].weight.pop_back(); }), Contains("'stem': expected 27 weights"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].bias[0] = 2147483647; }), Contains("beyond 32 bits"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].rescale[0] = -1; }), Contains("positive factors"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].low[0] = 200, p.ops[conv].high[0] = 100; }), Contains("not within"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].window.stride_w = 0; }), Contains("strides"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].window.padding_h = 7; }), Contains("the output is 8x8"));
  CHECK_THAT(refused([&](auto& p) { p.tensors[1].grid.scale = 0; }), Contains("positive scale"));
  CHECK_THAT(refused([&](auto& p) { p.tensors[1].channels = 1 << 30; }), Contains("dimensions"));
  CHECK_THAT(refused([&](auto& p) { p.output = p.ops[conv].output; }), Contains("float tensors"));
  CHECK_THAT(refused([&](auto& p) { p.ops[conv].kind = static_cast<deploy::OpKind>(99); }), Contains("unknown kind"));
}

TEST_CASE("a lowered ResNet-20 computes the simulation's integers on real images", "[cifar]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  for (const Json& settings : all_settings()) {
    INFO(settings.dump());
    const ModulePtr model = quantized_resnet(*material, settings);
    const deploy::Lowered lowered = deploy::lower(*model, material->batch(0, 1));
    CHECK(lowered.beyond_simulation.empty());
    check_equal(*model, deploy::Engine(lowered.program), material->batch(0, 2), 32);
  }
}

// Depthwise and grouped convolutions, a concatenation, a product, pools, table lookups.
TEST_CASE("a lowered net of every layer computes the simulation's integers on real images", "[cifar]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  for (const Json& settings : all_settings()) {
    INFO(settings.dump());
    const ModulePtr model = quantized(every_layer(32), settings, material->batch(0, 8));
    check_equal(*model, deploy::Engine(deploy::lower(*model, material->batch(0, 1)).program), material->batch(8, 2),
                kLayers);
  }
}

TEST_CASE("a lowered net of every layer computes the simulation's integers on 10,000 images", "[.][cifar][slow]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  for (const Json& settings : main_settings()) {
    INFO(settings.dump());
    const ModulePtr model = quantized(every_layer(32), settings, material->batch(0, 8));
    check_equal_on_test_set(*model, *material, kLayers);
  }
}

TEST_CASE("a lowered ResNet-20 computes the simulation's integers on 10,000 images", "[.][cifar][slow]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  for (const Json& settings : main_settings()) {
    INFO(settings.dump());
    const ModulePtr model = quantized_resnet(*material, settings);
    check_equal_on_test_set(*model, *material, 32);
  }
}

// QGRAD_RESNET20: its checkpoint.
TEST_CASE("a lowered ResNet-20 of one's own computes the simulation's integers on 10,000 images", "[.][cifar][slow]") {
  const char* file = std::getenv("QGRAD_RESNET20");
  const std::optional<Material> material = Material::load();
  if (!material || !file) return;
  for (const Json& settings : main_settings()) {
    INFO(settings.dump());
    ModulePtr trained = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
    load_state(*trained, read_checkpoint(file));
    trained->set_training(false);
    const ModulePtr model = quantized(std::move(trained), settings, material->batch(0, 100));
    check_equal_on_test_set(*model, *material, 32);
  }
}
