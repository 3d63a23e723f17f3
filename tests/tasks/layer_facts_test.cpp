// What is gathered of layers that were quantized after training.
#include "tasks/layer_facts.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "tasks/quantization.h"
#include "tasks/training_events.h"

using namespace qgrad;

namespace {

std::vector<LayerFacts> facts_by(const std::string& settings) {
  const auto experiment = read_config<ExperimentConfig>(Config::parse(
      R"({"name": "s", "seed": 3, "data": {"dataset": {"class": "digits"}, "transforms": {"mean": [0.5], "std": [0.5]}},
          "model": {"class": "convnet", "width": 4}})",
      "test"));
  const auto task = open_task(experiment, std::nullopt);
  ModulePtr model = build_model(experiment.model, experiment.seed, std::nullopt);
  const Config quantizer = Config::parse(
      R"({"class": "PostTrainLinearQuantizer", "bits_weights": 4, "bits_activations": 6)" + settings + "}",
      "quantizer");
  const Quantized quantized = quantize_model(model, {experiment.model, quantizer, *task, "", CalibrationConfig{}});
  return layer_facts(*model, *quantized.reference, quantized.images[0]);
}

std::vector<LayerFacts> trained_facts_by(const char* quantizer, const std::string& settings) {
  const auto experiment = read_config<ExperimentConfig>(Config::parse(
      R"({"name": "s", "seed": 3, "data": {"dataset": {"class": "digits"}}, "model": {"class": "convnet", "width": 4}})",
      "test"));
  const auto task = open_task(experiment, std::nullopt);
  ModulePtr model = build_model(experiment.model, experiment.seed, std::nullopt);
  const Config config = Config::parse(fmt::format(R"({{"class": "{}"{}}})", quantizer, settings), "quantizer");
  quantize_model(model, {experiment.model, config, *task, "test"});
  const Task::Batch examples = shown_examples(*task, 1);
  model->call(examples.inputs);  // in training mode: ranges and steps start from the first batch
  return trained_layer_facts(*model, examples.inputs);
}

const LayerFacts& layer_of(const std::vector<LayerFacts>& all, const std::string& path) {
  return *std::ranges::find(all, path, &LayerFacts::path);
}

}  // namespace

TEST_CASE("weights of one scale are gathered as they are, on levels that hold them") {
  const auto all = facts_by(R"(, "mode": "ASYMMETRIC_UNSIGNED")");
  const LayerFacts& conv = layer_of(all, "conv1");
  CHECK(conv.kind == "Conv2d");
  REQUIRE(conv.weights);
  CHECK(conv.weights->bits == 4);
  CHECK_FALSE(conv.weights->in_steps);
  CHECK(conv.weights->step->min == conv.weights->step->max);
  CHECK(conv.weights->histogram.total() == 3 * 3 * 1 * 4);
  const double step = conv.weights->step->min;
  CHECK(conv.weights->histogram.edge(0) > conv.weights->levels->min - step);
  CHECK(conv.weights->levels->max - conv.weights->levels->min <= 15.01 * step);
  CHECK(conv.output->bits == 6);
  CHECK(conv.output->levels->min == 0);  // behind a ReLU
  CHECK_FALSE(layer_of(all, "residual_eltwiseadd").weights);
}

TEST_CASE("weights with scales of their channels are gathered in steps") {
  const auto all = facts_by(R"(, "per_channel_wts": true)");
  const TensorFacts& weights = *layer_of(all, "conv2").weights;
  CHECK(weights.in_steps);
  CHECK(weights.step->min < weights.step->max);
  CHECK(weights.levels->min == -8);
  CHECK(weights.levels->max == 7);
  CHECK(weights.histogram.edge(0) >= -8.01);
}

TEST_CASE("weights that were trained with quantization lie on the levels in use") {
  for (const char* const name : {"LSQQuantizer", "DorefaQuantizer", "PACTQuantizer"}) {
    CAPTURE(name);
    const auto all = trained_facts_by(name, R"(, "bits_weights": 2, "bits_activations": 4)");
    const LayerFacts& conv = layer_of(all, "conv2");
    CHECK(conv.kind == "Conv2d");
    CHECK_FALSE(conv.output);
    CHECK(conv.weights->bits == 2);
    CHECK(conv.weights->levels->max - conv.weights->levels->min <= 6);
    const auto& counts = conv.weights->histogram.counts;
    CHECK(conv.weights->histogram.total() == 3 * 3 * 4 * 4);
    CHECK(std::ranges::count_if(counts, [](int64_t n) { return n > 0; }) <= 4);
  }
}

TEST_CASE("activations of a training are gathered before they are quantized, beside all levels of their grid") {
  const auto all = trained_facts_by("LSQQuantizer", R"(, "bits_weights": 4, "bits_activations": 3)");
  CHECK(all[0].path == "conv1");
  const TensorFacts& relu = *layer_of(all, "relu1").output;
  CHECK_FALSE(layer_of(all, "relu1").weights);
  CHECK(relu.bits == 3);
  CHECK(relu.levels->min == 0);
  CHECK(relu.levels->max == Approx(7 * relu.step->min));
  CHECK(relu.histogram.total() == 16 * 8 * 8 * 4);
  CHECK(relu.histogram.edge(0) == 0);
  CHECK(std::ranges::count_if(relu.histogram.counts, [](int64_t n) { return n > 0; }) > 8);
}

TEST_CASE("levels that are not evenly spaced are listed") {
  const auto all = trained_facts_by("APoTQuantizer", R"(, "bits_weights": 4, "bits_activations": 4)");
  const TensorFacts& relu = *layer_of(all, "relu1").output;
  CHECK(relu.uneven.size() == 16);
  CHECK(relu.levels->max == relu.uneven.back());
  const Json json = to_json(all);
  CHECK(json.at(1).at("output").at("levels").at("uneven").size() == 16);
  CHECK_FALSE(json.at(1).at("output").at("levels").contains("step"));
}

TEST_CASE("the model's inputs, and what layers read, are gathered as inputs") {
  const auto all = trained_facts_by("LSQQuantizer",
                                    R"(, "bits_weights": 4, "bits_activations": 4, "quantized_activations": "inputs")");
  const LayerFacts& first = layer_of(all, "conv1");
  CHECK(first.kind == "Conv2d");
  CHECK(first.weights);
  CHECK(first.input->levels->min < 0);
  CHECK_FALSE(first.output);
  CHECK(layer_of(all, "conv2").input->levels->min == 0);
}

TEST_CASE("as JSON histograms have a hundred bins at the most, and every number is counted") {
  for (const Json& layer : to_json(facts_by(""))) {
    const Json& histogram = layer.at("output").at("histogram");
    CHECK(histogram.at("counts").size() <= 100);
    int64_t sum = 0;
    for (const Json& count : histogram.at("counts")) sum += count.get<int64_t>();
    CHECK(sum > 0);
    CHECK(sum % 100 == 0);  // of a batch of 100 images
  }
}
