// PostTrainLinearQuantizer where golden files do not reach: errors, what is left alone, state and its rebuilding.
#include "quant/post_train/linear.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "nn/fold.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;
using test::error_of;

namespace {

using Catch::Matchers::Contains;

Tensor images(uint64_t seed, float scale = 1.0f) {
  return Tensor::from({2, 6, 6, 3}, test::normal_values(2 * 6 * 6 * 3, seed, scale));
}

// conv1, bn1, an activation, conv2 and a last layer; parameters from fixed streams.
ModulePtr make_net(ModulePtr activation = std::make_unique<ReLU>()) {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)))
      .add("bn1", std::make_unique<BatchNorm2d>(4))
      .add("relu1", std::move(activation))
      .add("conv2", std::make_unique<Conv2d>(square_conv(4, 5, 3, 2, 1)))
      .add("flat", std::make_unique<Flatten>())
      .add("fc", std::make_unique<Linear>(45, 3));
  uint64_t seed = 10;
  for (Parameter* p : all_parameters(*net))
    p->set_raw(
        Tensor::from(p->raw().shape(), test::normal_values(static_cast<size_t>(p->raw().numel()), seed++, 0.3f)));
  net->set_training(false);
  return net;
}

QuantStats stats_of(Module& net) {
  return collect_quant_stats(net, [&] {
    net(images(1));
    net(images(2));
  });
}

// Under Distiller's arithmetic, unless told otherwise.
std::unique_ptr<PostTrainLinearQuantizer> quantizer(const Json& settings) {
  Json config = {{"rounding", "distiller"}};
  config.update(settings);
  return std::make_unique<PostTrainLinearQuantizer>(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
}

ModulePtr quantized(const Json& config, ModulePtr net = make_net()) {
  const auto q = quantizer(config);
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  return net;
}

ModulePtr quantized_dynamically(const Json& config, ModulePtr net = make_net()) {
  quantizer(config)->prepare(net, nullptr, images(1));
  return net;
}

std::string kind_at(Module& model, const char* path) { return std::string(find_module(model, path)->kind()); }

bool same(const Tensor& a, const Tensor& b) { return test::bits(a.data()) == test::bits(b.data()); }

float largest_difference(const Tensor& a, const Tensor& b) {
  float largest = 0;
  for (size_t i = 0; i < a.data().size(); ++i) largest = std::max(largest, std::fabs(a.data()[i] - b.data()[i]));
  return largest;
}

// Two convolutions of one input, added.
struct TwoBranches final : Module {
  TwoBranches() { set_training(false); }
  std::string_view kind() const override { return "TwoBranches"; }
  Child a = child<Conv2d>("a", square_conv(3, 4, 1)), b = child<Conv2d>("b", square_conv(3, 4, 1)),
        add = child<EltwiseAdd>("add");

 protected:
  Tensor forward(Inputs x) override {
    const Tensor first = a(x[0]), second = b(x[0]);
    return add(first, second);
  }
};

ModulePtr two_branches() {
  auto net = std::make_unique<TwoBranches>();
  uint64_t seed = 20;
  for (Parameter* p : all_parameters(*net))
    p->set_raw(Tensor::from(p->raw().shape(), test::normal_values(static_cast<size_t>(p->raw().numel()), seed++)));
  return net;
}

const RangeLinearQuantWrapper& wrapper_at(Module& model, const char* path) {
  return dynamic_cast<const RangeLinearQuantWrapper&>(*find_module(model, path));
}

}  // namespace

TEST_CASE("a net quantized to 8 bits stays close to the float net, static and dynamic") {
  const Tensor expected = (*make_net())(images(3));
  for (const char* mode : {"SYMMETRIC", "SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED"}) {
    INFO(mode);
    CHECK(largest_difference((*quantized({{"mode", mode}}))(images(3)), expected) < 0.1f);
    CHECK(largest_difference((*quantized_dynamically({{"mode", mode}}))(images(3)), expected) < 0.1f);
  }
}

TEST_CASE("levels around zero quantize weights of few bits with less error, and activations not at all") {
  const auto error_of_weights = [](const char* mode) {
    const ModulePtr model = quantized({{"bits_weights", 2},
                                       {"mode", {{"weights", mode}}},
                                       {"per_channel_wts", true},
                                       {"clip_acts", "MSE"},
                                       {"also_clip_weights", true}});
    const auto& conv = dynamic_cast<const RangeLinearQuantParamLayerWrapper&>(wrapper_at(*model, "conv2"));
    const ModulePtr net = make_net();
    return mean(square(sub(conv.weight().dequantized(), layer_parameters(*find_module(*net, "conv2")).weight.raw())))
        .item();
  };
  CHECK(error_of_weights("SYMMETRIC_MIDRISE") < 0.85f * error_of_weights("SYMMETRIC"));
  CHECK(error_of_weights("SYMMETRIC_MIDRISE") < error_of_weights("ASYMMETRIC_UNSIGNED"));
  const char* kNoZero = "SYMMETRIC_MIDRISE has no level at zero, which activations need; it is for {\"weights\": ..}";
  CHECK_THAT(error_of([] { quantizer({{"mode", "SYMMETRIC_MIDRISE"}}); }), Contains(kNoZero));
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"conv2", {{"mode", {{"activations", "SYMMETRIC_MIDRISE"}}}}}}}});
             }),
             Contains(kNoZero) && Contains("overrides.conv2.mode"));
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"conv2", {{"input_overrides", {{"0", {{"mode", "SYMMETRIC_MIDRISE"}}}}}}}}}});
             }),
             Contains(kNoZero));
}

TEST_CASE("settings that lack what they need are errors") {
  CHECK_THAT(error_of([] { quantizer({{"clip_acts", "N_STD"}}); }), Contains("N_STD needs clip_n_stds"));
  CHECK_THAT(error_of([] { quantizer({{"clip_acts", "PERCENTILE"}}); }), Contains("PERCENTILE needs clip_percentile"));
  CHECK_THAT(error_of([] {
               quantizer({{"clip_acts", "PERCENTILE"}, {"clip_percentile", 50}});
             }),
             Contains("clip_percentile: expected 50 to 100 (exclusive below), got 50"));
  CHECK_THAT(error_of([] { quantizer({{"clip_acts", "PERCENTILES"}}); }), Contains("did you mean 'PERCENTILE'"));
  for (const char* key : {"bits_activations", "bits_weights"})
    for (const int bits : {0, 33, -8})
      CHECK_THAT(error_of([&] { quantizer({{key, bits}}); }), Contains(key) && Contains(std::to_string(bits)));
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"conv2", {{"clip_acts", "N_STD"}}}}}});
             }),
             Contains("clip_acts N_STD needs clip_n_stds, in conv2"));
  CHECK_THAT(error_of([] { quantized({{"fpq_module", 24}}); }), Contains("expected 16 or 32, got 24"));
  CHECK_THAT(error_of([] { quantized({{"overrides", {{"fc", {{"bits_bias", 8}}}}}}); }), Contains("bits_accum"));
  CHECK_THAT(error_of([] { quantizer({{"model_activation_stats", 3}}); }), Contains("model_activation_stats"));
  CHECK_THAT(error_of([] { quantizer({{"bits_weigths", 4}}); }), Contains("did you mean 'bits_weights'"));
  for (const char* clip : {"GAUSS", "LAPLACE"})
    CHECK_THAT(error_of([&] {
                 quantized({{"clip_acts", clip}, {"bits_activations", 10}});
               }),
               Contains("to 8 bits, not for 10, in conv1"));
  CHECK_THAT(
      error_of([] {
        quantized({{"clip_acts", "N_STD"}, {"clip_n_stds", 2}, {"also_clip_weights", true}, {"per_channel_wts", true}});
      }),
      Contains("does not go with per-channel") && Contains("in conv1"));
}

TEST_CASE("statistics of another model are an error that names the layer") {
  ModulePtr net = make_net();
  QuantStats stats = stats_of(*net);
  stats.erase("fc");
  const auto incomplete = quantizer(Json::object());
  incomplete->set_stats(stats);
  CHECK_THAT(error_of([&] { incomplete->prepare(net, nullptr, images(1)); }), Contains("no statistics for layer 'fc'"));

  net = make_net();
  stats = stats_of(*net);
  stats.add("layer9.conv1");
  const auto foreign = quantizer(Json::object());
  foreign->set_stats(stats);
  CHECK_THAT(error_of([&] { foreign->prepare(net, nullptr, images(1)); }),
             Contains("statistics for 'layer9.conv1', which the model does not have"));

  net = make_net();
  stats = stats_of(*net);
  CHECK(stats.at("conv2").output.shape == "(2, 5, 3, 3)");
  stats.find("conv2")->output.shape = "(2, 10, 3, 3)";
  const auto wider = quantizer(Json::object());
  wider->set_stats(stats);
  CHECK_THAT(error_of([&] { wider->prepare(net, nullptr, images(1)); }),
             Contains("statistics for 'conv2' are of outputs (2, 10, 3, 3), but the model's are (2, 5, 3, 3)"));
}

TEST_CASE("statistics may have their batch in another dimension than the first, but of no other size") {
  ModulePtr net = make_net();
  QuantStats stats = stats_of(*net);
  const auto refused = [&](const char* first, const char* second) {
    net = make_net();
    stats.find("conv1")->output.shape = first;
    stats.find("conv2")->output.shape = second;
    const auto made = quantizer(Json::object());
    made->set_stats(stats);
    return error_of([&] { made->prepare(net, nullptr, images(1)); });
  };
  const std::string one = stats.at("conv1").output.shape, rest = one.substr(one.find(','));
  const std::string twice = "(4" + rest;  // batches of four images, where the example has two
  CHECK(refused(twice.c_str(), "(4, 5, 3, 3)") == "no error");
  CHECK(refused(twice.c_str(), "(2, 10, 3, 3)") == "no error");
  CHECK_THAT(refused(twice.c_str(), "(2, 15, 3, 3)"), Contains("belong to another model"));
  CHECK_THAT(refused(twice.c_str(), "(4, 10, 3, 3)"), Contains("belong to another model"));
}

TEST_CASE("a clip mode that reads histograms needs statistics that have them, and names the layer") {
  for (const char* clip : {"PERCENTILE", "MSE", "KL"}) {
    ModulePtr net = make_net();
    QuantStats stats = stats_of(*net);
    stats.drop_histograms();
    const auto q = quantizer({{"clip_percentile", 99}, {"overrides", {{"conv2", {{"clip_acts", clip}}}}}});
    q->set_stats(stats);
    CHECK_THAT(error_of([&] { q->prepare(net, nullptr, images(1)); }),
               Contains(std::string(clip) + " clipping needs a histogram") && Contains("in conv2"));
  }
}

TEST_CASE("every clip mode cuts the ranges of activations, and of weights where asked to") {
  for (const Json& clip :
       {Json{{"clip_acts", "AVG"}}, Json{{"clip_acts", "N_STD"}, {"clip_n_stds", 2}}, Json{{"clip_acts", "GAUSS"}},
        Json{{"clip_acts", "LAPLACE"}}, Json{{"clip_acts", "PERCENTILE"}, {"clip_percentile", 99}},
        Json{{"clip_acts", "MSE"}}, Json{{"clip_acts", "KL"}}})
    for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}) {
      INFO(clip.dump() << " " << mode);
      Json config = {{"bits_activations", 3}, {"bits_weights", 3}, {"mode", mode}};
      const ModulePtr whole = quantized(config);
      config.update(clip);
      const ModulePtr acts = quantized(config);
      config["also_clip_weights"] = true;
      const ModulePtr both = quantized(config);
      const auto scale = [](const ModulePtr& net, const char* name) { return named_quant_param(*net, name).get()[0]; };
      // LAPLACE may go beyond the values themselves, and KL keeps all of so few.
      if (clip.at("clip_acts") != "LAPLACE" && clip.at("clip_acts") != "KL")
        CHECK(scale(acts, "conv2.output_scale") > scale(whole, "conv2.output_scale"));
      CHECK(scale(acts, "conv2.w_scale") == scale(whole, "conv2.w_scale"));
      if (clip.at("clip_acts") != "KL") CHECK(scale(both, "conv2.w_scale") != scale(whole, "conv2.w_scale"));
      CHECK_NOTHROW((*quantized_dynamically(config))(images(3)));
    }
}

TEST_CASE("statistics in a checkpoint have histograms only where a clip mode reads them") {
  for (const auto& [settings, kept] : {std::pair<Json, bool>{{{"clip_acts", "AVG"}}, false},
                                       {{{"clip_acts", "KL"}}, true},
                                       {{{"overrides", {{"fc", {{"clip_acts", "MSE"}}}}}}, true}}) {
    INFO(settings.dump());
    const auto q = quantizer(settings);
    q->set_stats(stats_of(*make_net()));
    const Json resolved = q->self_contained(settings).json();
    CHECK(resolved.at("model_activation_stats").at("fc").at("output").contains("histogram") == kept);
  }
}

TEST_CASE("ranges of a layer whose output is split are cut to what all the activations behind it let through") {
  struct Gates final : Module {
    Gates(ModulePtr a, ModulePtr b) : first(*this, "first", std::move(a)), second(*this, "second", std::move(b)) {
      set_training(false);
    }
    std::string_view kind() const override { return "Gates"; }
    Child fc = child<Linear>("fc", 3, 6), part0 = child<Split>("part0", -1, 2, 0),
          part1 = child<Split>("part1", -1, 2, 1), first, second, product = child<EltwiseMult>("product");

   protected:
    Tensor forward(Inputs x) override {
      const Tensor y = fc(x[0]);
      return product(first(part0(y)), second(part1(y)));
    }
  };
  const auto range_of_fc = [](ModulePtr a, ModulePtr b) {
    auto net = std::make_unique<Gates>(std::move(a), std::move(b));
    const Tensor x = test::normal_tensor({64, 3}, 4, 20.0f);
    uint64_t seed = 5;
    for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++));
    const auto q = quantizer({{"mode", "ASYMMETRIC_UNSIGNED"}});
    q->set_stats(collect_quant_stats(*net, [&] { (*net)(x); }));
    ModulePtr model = std::move(net);
    q->prepare(model, nullptr, x);
    const TensorStats& output = q->stats_after_prepare()->at("fc").output;
    CHECK(q->stats_after_prepare()->at("part0").inputs[0].max == output.max);
    CHECK(q->stats_after_prepare()->at("part1").inputs[0].max == output.max);
    CHECK(output.histogram->edge(output.histogram->counts.size()) == Approx(output.max).margin(0.5));
    return ValueRange{static_cast<float>(output.min), static_cast<float>(output.max)};
  };
  const ValueRange gates = range_of_fc(std::make_unique<Sigmoid>(), std::make_unique<Tanh>());
  CHECK(gates.min == -6);
  CHECK(gates.max == 6);
  const ValueRange tanhs = range_of_fc(std::make_unique<Tanh>(), std::make_unique<Tanh>());
  CHECK(tanhs.min == -4);
  CHECK(tanhs.max == 4);
  const ValueRange relus = range_of_fc(std::make_unique<ReLU>(), std::make_unique<ReLU>());
  CHECK(relus.min == 0);
  CHECK(relus.max > 6);
  const ValueRange mixed = range_of_fc(std::make_unique<ReLU>(), std::make_unique<Tanh>());
  CHECK(mixed.min < -6);
  CHECK(mixed.max == relus.max);
}

TEST_CASE("preparing leaves the caller's statistics as they were") {
  ModulePtr net = make_net();
  const QuantStats stats = stats_of(*net);
  const Json before = stats_to_json(stats);
  const auto q = quantizer(Json::object());
  q->set_stats(stats);
  q->prepare(net, nullptr, images(1));
  CHECK(stats_to_json(stats) == before);
  CHECK(q->stats_after_prepare()->find("bn1") == nullptr);
  CHECK(q->stats_after_prepare()->at("conv1").output.min == 0);
}

TEST_CASE("a quantized model refuses to be trained") {
  const ModulePtr net = quantized(Json::object());
  net->set_training(true);
  CHECK_THAT(error_of([&] { (*net)(images(1)); }), Contains("can not be trained") && Contains("conv1"));
}

TEST_CASE("a ReLU6 that is computed in the layer before it still stops at 6") {
  const ModulePtr net = quantized_dynamically(Json::object(), make_net(std::make_unique<ReLU6>()));
  REQUIRE(kind_at(*net, "relu1") == "Identity");
  const Tensor y = find_module(*net, "conv1")->call(std::vector{images(1, 40.0f)});
  CHECK(*std::ranges::max_element(y.data()) == Approx(6).epsilon(0.01));
  CHECK(*std::ranges::min_element(y.data()) == 0);
}

TEST_CASE("a layer without bits stays as it is, and settings that then have no effect are errors") {
  const Json none = {{"bits_activations", nullptr}, {"bits_weights", nullptr}};
  const ModulePtr net = quantized({{"overrides", {{"conv2", none}}}});
  CHECK(kind_at(*net, "conv2") == "Conv2d");
  CHECK(kind_at(*net, "flat") == "RangeLinearFakeQuantWrapper");
  Json clipped = none;
  clipped["clip_acts"] = "AVG";
  CHECK(
      error_of([&] {
        quantized({{"overrides", {{"conv2", clipped}}}});
      }) ==
      "quantizer.overrides.conv2.clip_acts: has no effect on the modules that this matches (Conv2d), with the bits and "
      "settings they have; what has: bits_activations, bits_bias, bits_weights, fpq_module");
}

TEST_CASE("fpq_module computes a layer in half precision and leaves its output in float") {
  const ModulePtr net =
      quantized({{"overrides", {{"conv2", {{"fpq_module", 16}}}, {"fc", {{"fpq_module", 16}, {"fake", true}}}}}});
  CHECK(kind_at(*net, "conv2") == "FPWrapper");
  CHECK(kind_at(*net, "fc") == "RangeLinearFakeQuantWrapper");
  for (const float w : all_parameters(*find_module(*net, "conv2"))[0]->raw().data()) CHECK(round_to_half(w) == w);
  CHECK_FALSE(find_module(*net, "conv2")->call(std::vector{Tensor::zeros({1, 6, 6, 4})}).grid().has_value());
  CHECK(largest_difference((*net)(images(3)), (*make_net())(images(3))) < 0.1f);
}

TEST_CASE("an input that no layer has quantized is an error where the fallback is off") {
  const ModulePtr net = quantized({{"inputs_quant_auto_fallback", false}});
  CHECK_THAT(error_of([&] { (*net)(images(1)); }), Contains("input 0 is not quantized") && Contains("conv1"));
  const ModulePtr named =
      quantized({{"inputs_quant_auto_fallback", false},
                 {"overrides", {{"conv1", {{"input_overrides", {{"0", {{"from_output", true}}}}}}}}}});
  CHECK_NOTHROW((*named)(images(1)));
}

TEST_CASE("settings for an input that is quantized already are a conflict") {
  const ModulePtr net =
      quantized({{"overrides", {{"conv2", {{"input_overrides", {{"0", {{"bits_activations", 5}}}}}}}}}});
  CHECK_THAT(error_of([&] { (*net)(images(1)); }), Contains("which is quantized already") && Contains("conv2"));
}

TEST_CASE("a ReLU that its layer computes has no settings of its own") {
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"relu1", {{"bits_activations", 4}}}}}});
             }),
             Contains("overrides.relu1") && Contains("relu1 is computed within conv1"));
  CHECK_NOTHROW(quantized({{"overrides", {{".*1", {{"bits_activations", 4}}}}}}));
  ModulePtr net = make_net();
  const auto q = quantizer({{"bits_activations", 8}});
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  const auto relu = std::ranges::find(q->resolved(), "relu1", &Quantizer::Resolved::path);
  CHECK_FALSE(relu->bits.activations.has_value());
}

TEST_CASE("a layer whose ReLU hardly ever lets anything through is quantized in every clip mode") {
  // The largest values of most images are below 0, one is above.
  const auto net_of = [] {
    ModulePtr net = make_net();
    for (Parameter* p : all_parameters(*net))
      if (p->path() == "bn1.bias")
        for (float& b : p->raw().mutable_data()) b -= 2;
    return net;
  };
  for (const char* mode : {"NONE", "AVG", "N_STD", "GAUSS", "LAPLACE"})
    for (const char* kind : {"ASYMMETRIC_UNSIGNED", "SYMMETRIC"}) {
      CAPTURE(mode, kind);
      const ModulePtr net = quantized({{"mode", kind}, {"clip_acts", mode}, {"clip_n_stds", 0.5}}, net_of());
      for (const float y : test::values((*net)(images(1)))) CHECK(std::isfinite(y));
    }
}

TEST_CASE("wrong input overrides are errors") {
  const auto with = [](const Json& overrides) {
    return quantized({{"overrides", {{"conv1", {{"input_overrides", overrides}}}}}});
  };
  CHECK_THAT(error_of([&] { with({{"1", {{"bits_activations", 5}}}}); }), Contains("1 inputs, got '1'"));
  CHECK_THAT(error_of([&] { with({{"first", Json::object()}}); }), Contains("got 'first'"));
  CHECK_THAT(error_of([&] { with({{"0", {{"bits", 5}}}}); }), Contains("unknown key"));
  CHECK_THAT(error_of([&] {
               with({{"0", {{"from_output", true}, {"bits_activations", 5}}}});
             }),
             Contains("from_output"));
}

TEST_CASE("a tensor with two consumers is quantized as the first one says, and stays as it was for the caller") {
  ModulePtr net = two_branches();
  const auto q = quantizer({{"overrides", {{"b", {{"bits_activations", 4}}}}}});
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  const Tensor x = images(3);
  (*net)(x);
  CHECK_FALSE(x.grid().has_value());
  CHECK(wrapper_at(*net, "b").quantization().inputs[0].shared);
  CHECK(wrapper_at(*net, "b").input_grid(0, x) == wrapper_at(*net, "a").input_grid(0, x));
}

TEST_CASE("an addition without statistics stays in float") {
  const ModulePtr net = quantized_dynamically(Json::object(), two_branches());
  CHECK(kind_at(*net, "add") == "EltwiseAdd");
  CHECK(kind_at(*net, "a") == "RangeLinearQuantParamLayerWrapper");
}

TEST_CASE("the report of layers tells what each one got") {
  const ModulePtr net = quantized(
      {{"per_channel_wts", true}, {"overrides", {{"fc", {{"bits_weights", 5}, {"mode", "ASYMMETRIC_SIGNED"}}}}}});
  const Json layers = layer_quant_params(*net);
  CHECK(layers.size() == 4);  // conv1, conv2, flat, fc
  CHECK(layers.at("fc").at("weight").at("bits") == 5);
  CHECK(layers.at("fc").at("output").at("mode") == "ASYMMETRIC_SIGNED");
  CHECK(layers.at("conv1").at("weight").at("scale").size() == 4);
  CHECK(layers.at("conv1").at("relu") == "ReLU");
  CHECK(layers.at("conv2").at("output").at("scale").get<float>() == wrapper_at(*net, "conv2").output_grid()->scale);
}

TEST_CASE("a quantized model rebuilt from its checkpoint computes the same bits") {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "qgrad_post_train_rebuilt.safetensors";
  for (const bool is_static : {true, false}) {
    INFO((is_static ? "static" : "dynamic"));
    const Json resolved = Registry<Quantizer>::resolve({{{"class", "PostTrainLinearQuantizer"},
                                                         {"rounding", is_static ? "onnx" : "distiller"},
                                                         {"per_channel_wts", true},
                                                         {"mode", "ASYMMETRIC_SIGNED"},
                                                         {"clip_acts", "KL"}},
                                                        "",
                                                        "quantizer"});
    auto q = Registry<Quantizer>::create({resolved, "", "quantizer"});
    ModulePtr net = make_net();
    if (is_static) dynamic_cast<PostTrainLinearQuantizer&>(*q).set_stats(stats_of(*net));
    q->prepare(net, nullptr, images(1));
    if (is_static) named_quant_param(*net, "conv2.output_clipping").set(std::vector{-1.0f, 1.5f});
    save_checkpoint(file, *net, {{"quantizer", q->self_contained(resolved).json()}});

    const Checkpoint checkpoint = read_checkpoint(file);
    ModulePtr again = make_net();
    for (Parameter* p : all_parameters(*again)) p->set_raw(Tensor::zeros(p->raw().shape()));
    Registry<Quantizer>::create({checkpoint.config.at("quantizer"), "", "quantizer"})
        ->prepare(again, nullptr, Tensor::zeros({1, 6, 6, 3}));
    load_state(*again, checkpoint);
    CHECK(same((*again)(images(3)), (*net)(images(3))));
  }
  std::filesystem::remove(file);
}

TEST_CASE("integers that a checkpoint can not hold, given the bits, are refused with their place") {
  ModulePtr net = make_net();
  auto q = quantizer({{"bits_weights", 4}});
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  CHECK_NOTHROW(check_numbers(*net, "the model"));
  for (Parameter* p : all_parameters(*net))
    if (p->path() == "conv2.weight") p->raw().mutable_data()[3] = 9;
  CHECK_THAT(error_of([&] { check_numbers(*net, "the model"); }),
             Contains("conv2.weight: number 3 is 9, expected one from -8 to 7"));
}
