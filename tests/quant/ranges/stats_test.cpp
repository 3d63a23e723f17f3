// Calibration statistics: golden vectors, determinism, files.
#include "quant/ranges/stats.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/parallel.h"
#include "data/cifar10.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/models/architecture.h"
#include "quant/train/fake_quant.h"
#include "quant/wrappers.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/golden_net.h"
#include "support/temporary_folder.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::golden;
using test::error_of;

namespace {

void check_tensor(const TensorStats& actual, const Json& expected, const Json& averages) {
  const auto same = [](double a, const Json& e) { return difference(a, real(e)); };
  CHECK(same(actual.min, expected.at("min")) == "");
  CHECK(same(actual.max, expected.at("max")) == "");
  CHECK(same(actual.avg_min, averages.at("avg_min")) == "");
  CHECK(same(actual.avg_max, averages.at("avg_max")) == "");
  CHECK(same(actual.mean, expected.at("mean")) == "");
  CHECK(same(actual.std, expected.at("std")) == "");
  CHECK(same(actual.b, expected.at("b")) == "");
  CHECK(actual.shape == expected.at("shape").get<std::string>());
  CHECK(actual.total_numel == expected.at("total_numel").get<int64_t>());
}

ModulePtr small_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)));
  net->add("bn", std::make_unique<BatchNorm2d>(4));
  net->add("relu", std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::output, std::make_unique<ReLU>(),
                                                         std::make_unique<FakeLinearQuantization>(FakeQuantConfig{})));
  net->add("nothing", std::make_unique<Identity>());
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  return net;
}

Json stats_example() {
  const Json tensor{{"min", -1},   {"max", 2.5}, {"avg_min", -0.5}, {"avg_max", 2},
                    {"mean", 0.1}, {"std", 0.7}, {"b", 0.5}};
  return {{"layer1.conv", {{"inputs", {{"0", tensor}}}, {"output", tensor}}}};
}
std::string reading_error(const Json& json) {
  return error_of([&] { stats_from_json(json, "stats.json"); });
}

}  // namespace

TEST_CASE("golden 06: calibration statistics of nets") {
  for_each_case("06_calibration_stats", [](const Json&, const Json& c) {
    const Json& in = c.at("inputs");
    const ModulePtr net = build_net(in);
    const QuantStats stats = collect_quant_stats(*net, [&] {
      for (const Json& batch : in.at("batches")) net->call(net_inputs(batch));
    });
    CHECK(stats.size() == c.at("expected").size());
    for (const auto& [path, expected] : c.at("expected").items()) {
      INFO(path);
      const ModuleStats& module = stats.at(path);
      const Json& averages = c.at("intended_averages").at(path);
      REQUIRE(module.inputs.size() == expected.at("inputs").size());
      for (size_t i = 0; i < module.inputs.size(); ++i) {
        INFO("input " << i);
        check_tensor(module.inputs[i], expected.at("inputs")[i], averages.at("input" + std::to_string(i)));
      }
      INFO("output");
      check_tensor(module.output, expected.at("output"), averages.at("output"));
    }
    return kCompared;
  });
}

TEST_CASE("golden 10: calibration statistics of a trained ResNet-20 on 500 images") {
  const auto model_file = shared_file("models/distiller_resnet20_cifar10.safetensors");
  const auto images_file = shared_file("cifar-10-batches-bin/data_batch_5.bin");
  const std::optional<Json> golden = load("10_resnet20_cifar10_stats");
  if (!golden || !available(model_file) || !available(images_file)) return;

  const Checkpoint checkpoint = read_checkpoint(model_file);
  const std::optional<Json> architecture = guess_architecture(checkpoint);
  REQUIRE(architecture);
  const ModulePtr model = Registry<Architecture>::create(Config{*architecture, "", ""})->make();
  load_state(*model, checkpoint);
  ImageSet images;
  read_cifar10_batch(images_file, images);
  const QuantStats stats = collect_quant_stats(*model, [&] {
    for (size_t batch = 0; batch < 5; ++batch) {
      Tensor x = Tensor::empty({100, 32, 32, 3});
      const auto numbers = x.mutable_data();
      for (size_t i = 0; i < numbers.size(); ++i)
        numbers[i] = (static_cast<float>(images.pixels[batch * numbers.size() + i]) / 255 - 0.5f) / 0.5f;
      (*model)(x);
    }
  });

  Tally tally("10_resnet20_cifar10_stats");
  for (const auto& [path, expected] : golden->at("stats").items()) {
    INFO(path);
    const ModuleStats& module = stats.at(path);
    REQUIRE(module.inputs.size() == expected.at("inputs").size());
    for (size_t i = 0; i < module.inputs.size(); ++i)
      check_tensor(module.inputs[i], expected.at("inputs")[i], expected.at("inputs")[i]);
    check_tensor(module.output, expected.at("output"), expected.at("output"));
    tally.add(kCompared);
  }
}

TEST_CASE("averages weigh every sample alike, whatever the batches") {
  auto net = std::make_unique<Sequential>();
  net->add("relu", std::make_unique<ReLU>());
  const Tensor all = test::normal_tensor({12, 5}, 1);
  const auto stats = [&](std::vector<int64_t> sizes) {
    return collect_quant_stats(*net,
                               [&] {
                                 size_t begin = 0;
                                 for (const int64_t n : sizes) {
                                   (*net)(Tensor::from({n, 5}, all.data().subspan(begin, static_cast<size_t>(5 * n))));
                                   begin += static_cast<size_t>(5 * n);
                                 }
                               })
        .at("relu")
        .inputs[0];
  };
  const TensorStats one = stats({12}), several = stats({1, 2, 4, 5});
  CHECK(one.avg_min == Approx(several.avg_min).epsilon(1e-12));
  CHECK(one.avg_max == Approx(several.avg_max).epsilon(1e-12));
  CHECK(one.std == Approx(several.std).epsilon(1e-12));
  CHECK(one.b == Approx(several.b).epsilon(1e-12));
}

TEST_CASE("a histogram counts every value of every batch, over the range of all") {
  auto net = std::make_unique<Sequential>();
  net->add("relu", std::make_unique<ReLU>());
  const Tensor first = test::normal_tensor({12, 5}, 1), second = test::normal_tensor({3, 5}, 2, 4.0f);
  const QuantStats stats = collect_quant_stats(*net, [&] {
    (*net)(first);
    (*net)(second);
  });
  const TensorStats& input = stats.at("relu").inputs[0];
  std::vector<float> all = test::values(first);
  all.insert(all.end(), second.data().begin(), second.data().end());
  CHECK(input.histogram->counts == Histogram::of(all).counts);
  CHECK(input.histogram->total() == input.total_numel);
  CHECK(stats.at("relu").output.histogram->first_bin == 0);
}

TEST_CASE("leaf modules and wrappers are observed, containers and Identity are not") {
  const ModulePtr net = small_net();
  (*net)(test::normal_tensor({2, 8, 8, 3}, 2));  // gives the fake quantization its range
  const QuantStats stats = collect_quant_stats(*net, [&] { (*net)(test::normal_tensor({2, 8, 8, 3}, 3)); });
  std::vector<std::string> paths;
  for (const auto& [path, module] : stats) paths.push_back(path);
  CHECK(paths == std::vector<std::string>{"conv", "bn", "relu"});
  CHECK(stats.at("conv").output.shape == "(2, 4, 8, 8)");
}

TEST_CASE("calibration leaves a model as it was, training or not") {
  const ModulePtr net = small_net();
  const Tensor x = test::normal_tensor({2, 8, 8, 3}, 2);
  (*net)(x);
  net->set_training(true);
  find_module(*net, "bn")->set_training(false);
  std::vector<std::vector<float>> before;
  for (const Buffer* b : all_buffers(*net)) before.push_back(test::values((*b)()));
  collect_quant_stats(*net, [&] { (*net)(x); });
  std::vector<std::vector<float>> after;
  for (const Buffer* b : all_buffers(*net)) after.push_back(test::values((*b)()));
  CHECK(before == after);
  CHECK(net->training());
  CHECK_FALSE(find_module(*net, "bn")->training());
  CHECK(find_module(*net, "relu")->training());
}

TEST_CASE("statistics do not depend on the number of threads") {
  const ModulePtr net = small_net();
  const Tensor x = test::normal_tensor({16, 32, 32, 3}, 2);
  (*net)(x);
  const auto collected = [&](int threads) {
    const int before = num_threads();
    set_num_threads(threads);
    const Json json = stats_to_json(collect_quant_stats(*net, [&] { (*net)(x); }));
    set_num_threads(before);
    return json;
  };
  CHECK(collected(1) == collected(3));
}

TEST_CASE("calibration without data, with changing data or with NaN is an error") {
  const ModulePtr net = small_net();
  const Tensor x = test::normal_tensor({2, 8, 8, 3}, 2);
  (*net)(x);
  CHECK(error_of([&] { collect_quant_stats(*net, [] {}); }).find("no calibration data") != std::string::npos);
  int pass = 0;
  CHECK(error_of([&] {
          collect_quant_stats(*net, [&] {
            for (int i = 0; i <= pass; ++i) (*net)(x);
            ++pass;
          });
        }).find("values in the first pass, but") != std::string::npos);
  const Tensor nan = Tensor::full({1, 8, 8, 3}, std::numeric_limits<float>::quiet_NaN());
  CHECK(error_of([&] { collect_quant_stats(*net, [&] { (*net)(nan); }); }) ==
        "calibration: a tensor of shape [1,8,8,3] holds NaN or infinity, in conv");
  CHECK(net->training());
}

TEST_CASE("statistics survive a file") {
  const ModulePtr net = small_net();
  const Tensor x = test::normal_tensor({2, 8, 8, 3}, 2);
  (*net)(x);
  const QuantStats stats = collect_quant_stats(*net, [&] { (*net)(x); });
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "stats.json";
  write_stats(file, stats);
  CHECK(stats_to_json(read_stats(file)) == stats_to_json(stats));
}

TEST_CASE("statistics that know their network are of no other") {
  const ModulePtr net = small_net(), other = small_net();
  const Tensor x = test::normal_tensor({2, 8, 8, 3}, 2);
  for (const ModulePtr* each : {&net, &other}) {
    (**each)(x);
    (*each)->set_training(false);
  }
  QuantStats stats = collect_quant_stats(*net, [&] { (*net)(x); });
  const test::TemporaryFolder folder;
  stats.network = state_checksum(*net);
  write_stats(folder.path() / "stats.json", stats);
  const QuantStats read = read_stats(folder.path() / "stats.json");
  CHECK(read.network == stats.network);
  const auto error = [&](Module& model) { return error_of([&] { check_stats_are_of(read, model, "stats.json"); }); };
  CHECK(error(*net) == "no error");
  CHECK(error(*other) == "no error");  // with the same numbers
  Parameter& weight = *all_parameters(*other).front();
  weight.raw().mutable_data()[0] = std::nextafter(weight.raw().data()[0], 9.0f);
  CHECK_THAT(error(*other), Contains("stats.json: ") && Contains(stats.network) && Contains(state_checksum(*other)) &&
                                Contains("calibrate it, too"));
}

TEST_CASE("files of statistics are checked") {
  for (const Json& network : {Json(), Json(5), Json::object(), Json(""), Json("1F2E3D4C"), Json("1f2e3d4c0")}) {
    Json json = stats_example();
    json[QuantStats::kNetwork] = network;
    CHECK(reading_error(json) == "stats.json: (network): expected a checksum of eight digits, 0 to 9 and a to f");
  }
  CHECK_NOTHROW(stats_from_json(stats_example(), "stats.json"));
  Json json = stats_example();
  json["layer1.conv"]["output"].erase("std");
  CHECK(reading_error(json) == "stats.json: layer1.conv.output: 'std' is missing");
  json = stats_example();
  json["layer1.conv"]["inputs"]["0"]["min"] = 3;
  CHECK(reading_error(json) == "stats.json: layer1.conv.inputs.0: min 3 is above max 2.5");
  json = stats_example();
  json["layer1.conv"]["output"]["mean"] = nullptr;
  CHECK(reading_error(json) == "stats.json: layer1.conv.output.mean: expected a number, got null");
  json = stats_example();
  json["layer1.conv"]["output"]["avgmin"] = 1;
  CHECK(reading_error(json) == "stats.json: layer1.conv.output.avgmin: unknown key (did you mean 'avg_min'?)");
  json = stats_example();
  json["layer1.conv"]["output"]["b"] = -1;
  CHECK(reading_error(json) == "stats.json: layer1.conv.output.b: expected 0 to 3.4028234663852886e+38, got -1");
  json = stats_example();
  json["layer1.conv"]["output"]["histogram"] = {{"bin_width", 0.5}, {"first_bin", -2}, {"counts", {1, -1, 3}}};
  CHECK(reading_error(json) ==
        "stats.json: layer1.conv.output.histogram.counts: expected 1 to 2048 counts, none negative and not all zero");
  json["layer1.conv"]["output"]["histogram"] = {{"bin_width", 0}, {"first_bin", -2}, {"counts", {1}}};
  CHECK(reading_error(json) == "stats.json: layer1.conv.output.histogram.bin_width: expected more than 0, got 0");
  json = stats_example();
  json["layer1.conv"].erase("inputs");
  CHECK(reading_error(json) == "stats.json: layer1.conv: 'inputs' is missing");
  CHECK(reading_error(Json::array()) == "stats.json: expected an object of modules, got a list");
}

TEST_CASE("a module without statistics is an error that names the nearest one") {
  const QuantStats stats = stats_from_json(stats_example(), "stats.json");
  CHECK(error_of([&] { stats.at("layer1.conf"); }) ==
        "statistics: no statistics for layer 'layer1.conf' (did you mean 'layer1.conv'?); they belong to another model "
        "or another set of layers");
}
