// Which layers quantization hurts, on a small network that a test can see through.
#include "tasks/sensitivity.h"

#include <algorithm>
#include <cmath>

#include "support/catch.h"
#include "support/errors.h"
#include "tasks/quantization.h"

using namespace qgrad;

namespace sensitivity_test {
namespace {

using What = Probe::What;

ExperimentConfig experiment() {
  return read_config<ExperimentConfig>(Config::parse(
      R"({"name": "s", "seed": 3, "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
          "model": {"class": "convnet", "width": 4}})",
      "test"));
}
const ExperimentConfig kExperiment = experiment();

Config quantizer(const char* more = "") {
  return Config::parse(
      fmt::format(R"({{"class": "PostTrainLinearQuantizer", "bits_weights": 4, "bits_activations": 4{}}})", more),
      "quantizer");
}

Sensitivity sensitivity(const ImageTask& data, Config of) {
  CalibrationConfig calibration;
  calibration.images = 64;
  return Sensitivity(kExperiment, std::move(of), calibration, data, {.bits = {8, 4, 2}, .gradient_images = 32});
}

double sqnr(const Sensitivity& of, const Probe& probe) { return of.measure(probe).sqnr_db; }

}  // namespace

TEST_CASE("every layer is probed alone and spared, by parts that have bits") {
  const auto task = open_task(kExperiment, std::nullopt);
  const Sensitivity of = sensitivity(images_of(*task), quantizer());
  const auto count = [&](What what, const std::string& layer) {
    return std::ranges::count_if(of.probes(), [&](const Probe& p) { return p.what == what && p.layer == layer; });
  };
  CHECK(of.probes()[0] == Probe{});
  CHECK(of.probes()[1].what == What::everything);
  for (const char* layer : {"conv1", "conv2", "conv3", "fc"}) {
    CHECK(count(What::weights, layer) == 3);
    CHECK(count(What::activations, layer) == 3);
    CHECK(count(What::all_but, layer) == 1);
  }
  CHECK(count(What::weights, "residual_eltwiseadd") == 0);
  CHECK(count(What::activations, "residual_eltwiseadd") == 3);
}

TEST_CASE("nothing quantized is the float network, fewer bits hurt more, and sparing a layer helps") {
  const auto task = open_task(kExperiment, std::nullopt);
  const Sensitivity of = sensitivity(images_of(*task), quantizer());
  const Damage nothing = of.measure({});
  CHECK(std::isinf(nothing.sqnr_db));
  CHECK(nothing.agreement == 100);
  for (const What what : {What::weights, What::activations}) {
    CHECK(sqnr(of, {what, "conv2", 8}) > 10 + sqnr(of, {what, "conv2", 4}));
    CHECK(sqnr(of, {what, "conv2", 4}) > 3 + sqnr(of, {what, "conv2", 2}));
  }
  double best = 0;
  for (const char* layer : {"conv1", "conv2", "conv3", "residual_eltwiseadd", "fc"})
    best = std::max(best, sqnr(of, {What::all_but, layer}));
  CHECK(best > 0.5 + sqnr(of, {What::everything}));
}

TEST_CASE("overrides of the config hold for the whole, and a spared layer's own gives way") {
  const auto task = open_task(kExperiment, std::nullopt);
  const ImageTask& data = images_of(*task);
  const Sensitivity plain = sensitivity(data, quantizer());
  const Sensitivity of = sensitivity(data, quantizer(R"(, "overrides": {"conv1": {"bits_weights": 2}})"));
  CHECK(sqnr(of, {What::everything}) < sqnr(plain, {What::everything}));
  CHECK(sqnr(of, {What::all_but, "conv1"}) == sqnr(plain, {What::all_but, "conv1"}));
}

TEST_CASE("a layer is probed under its own settings") {
  const auto task = open_task(kExperiment, std::nullopt);
  const ImageTask& data = images_of(*task);
  const Sensitivity plain = sensitivity(data, quantizer());
  const Sensitivity of = sensitivity(
      data,
      quantizer(R"(, "overrides": {"conv2": {"per_channel_wts": true, "clip_acts": "N_STD", "clip_n_stds": 1}})"));
  CHECK(sqnr(of, {What::weights, "conv2", 4}) != sqnr(plain, {What::weights, "conv2", 4}));
  CHECK(sqnr(of, {What::activations, "conv2", 8}) < sqnr(plain, {What::activations, "conv2", 8}) - 1);
  CHECK(sqnr(of, {What::weights, "conv3", 4}) == sqnr(plain, {What::weights, "conv3", 4}));
}

TEST_CASE("what a layer reads in float is probed with what it gives, and what others quantize is not") {
  const auto task = open_task(kExperiment, std::nullopt);
  const ImageTask& data = images_of(*task);
  const Sensitivity of = sensitivity(data, quantizer());
  const auto given_alone = [&](const char* layer) {
    const Json config = Json::parse(fmt::format(
        R"({{"class": "PostTrainLinearQuantizer", "bits_weights": null, "bits_activations": null, "overrides": {{"{}":
           {{"bits_activations": 2, "fpq_module": 32, "fake": true, "quantize_inputs": false}}}}}})",
        layer));
    return of.measure_config(config).sqnr_db;
  };
  for (const char* layer : {"conv1", "fc"})  // images, and what no module flattens
    CHECK(sqnr(of, {What::activations, layer, 2}) < given_alone(layer) - 0.3);
  for (const char* layer : {"conv2", "conv3", "residual_eltwiseadd"})
    CHECK(sqnr(of, {What::activations, layer, 2}) == given_alone(layer));
  const Sensitivity coarse =
      sensitivity(data, quantizer(R"(, "overrides": {"conv1": {"input_overrides": {"0": {"bits_activations": 2}}}})"));
  CHECK(sqnr(coarse, {What::activations, "conv1", 8}) < sqnr(of, {What::activations, "conv1", 8}) - 10);
}

TEST_CASE("every probe says the noise at its layer") {
  const auto task = open_task(kExperiment, std::nullopt);
  const Sensitivity of = sensitivity(images_of(*task), quantizer());
  CHECK_FALSE(of.measure({What::all_but, "fc"}).layer_sqnr_db);
  for (const What what : {What::weights, What::activations}) {
    const Damage last = of.measure({what, "fc", 4});  // what it gives are the outputs
    CHECK(*last.layer_sqnr_db == Approx(last.sqnr_db).margin(0.5));
    CHECK(*of.measure({what, "conv2", 8}).layer_sqnr_db > 15 + *of.measure({what, "conv2", 4}).layer_sqnr_db);
  }
}

TEST_CASE("the divergence from float grows with the noise, and is none without") {
  const auto task = open_task(kExperiment, std::nullopt);
  const Sensitivity of = sensitivity(images_of(*task), quantizer());
  CHECK(of.measure({}).divergence == 0);
  const double fine = of.measure({What::weights, "conv2", 8}).divergence;
  CHECK(fine > 0);
  CHECK(of.measure({What::weights, "conv2", 2}).divergence > 100 * fine);
}

TEST_CASE("what gradients say of weights ranks layers and bits as measuring does") {
  const auto task = open_task(kExperiment, std::nullopt);
  const Sensitivity of = sensitivity(images_of(*task), quantizer());
  const std::vector<double> estimates = of.estimates();
  std::vector<double> noise;
  for (const Probe& probe : of.probes())
    if (probe.what == What::weights) noise.push_back(-sqnr(of, probe));
  REQUIRE(estimates.size() == noise.size());
  CHECK(rank_correlation(estimates, noise) > 0.9);
}

TEST_CASE("what was measured is read back as it was") {
  const Damage damage{.probe = {What::weights, "a.b", 3},
                      .top1 = 91.5,
                      .loss = {},
                      .agreement = 99,
                      .divergence = 0.25,
                      .sqnr_db = INFINITY};
  const Damage again = damage_of(to_json(damage));
  CHECK(again.probe == damage.probe);
  CHECK(again.top1 == damage.top1);
  CHECK(!again.loss);
  CHECK(std::isinf(again.sqnr_db));
  CHECK(to_json(again) == to_json(damage));
  CHECK(test::error_of([] { damage_of({{"what", "everythin"}}); }).find("no such probe") != std::string::npos);
  for (const Json& damaged : {Json{{"what", "weights"}}, Json(3), Json{{"what", 1}}})
    CHECK(test::error_of([&] { damage_of(damaged); }).find("expected a probe") != std::string::npos);
}

TEST_CASE("Spearman's correlation is of ranks, and equals share theirs") {
  CHECK(rank_correlation({1, 2, 3, 4}, {1, 10, 100, 1000}) == Approx(1));
  CHECK(rank_correlation({1, 2, 3, 4}, {4, 3, 2, 1}) == Approx(-1));
  CHECK(rank_correlation({1, 2, 2, 3}, {1, 2, 2, 3}) == Approx(1));
  CHECK(rank_correlation({1, 2, 3}, {5, 5, 5}) == 0);
  CHECK(rank_correlation({1, 2, 3, 4, 5}, {2, 1, 4, 3, 5}) == Approx(0.8));
}

}  // namespace sensitivity_test
