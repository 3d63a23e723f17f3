// Settings of PostTrainLinearQuantizer: those that are errors, statistics that do not fit, clips, and where they count.
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "quant/post_train/quantized_net.h"
#include "quant/simulation/float_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace post_train_settings_test {

using namespace qgrad;
using namespace qgrad::test::post_train;
using test::error_of;

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

}  // namespace post_train_settings_test
