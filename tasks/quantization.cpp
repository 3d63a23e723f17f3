// Calibrating, preparing, and what the result weighs.
#include "tasks/quantization.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "nn/checkpoint.h"
#include "quant/simulation/weight.h"
#include "quant/train/left_in_float.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr int64_t kMostImagesInMemory = 4096;

// The same model again, in evaluation mode.
ModulePtr twin_of(Module& model, const Config& architecture) {
  ModulePtr twin = Registry<Architecture>::create(architecture)->make();
  load_state(*twin, model_state(model), "the float model");
  twin->set_training(false);
  return twin;
}

// In memory, so not more than a few thousand.
CalibrationConfig in_memory(CalibrationConfig config) {
  if (config.images.value_or(0) <= kMostImagesInMemory) return config;
  note(fmt::format("calibration: layers are compared and corrected on {} of the {} images", kMostImagesInMemory,
                   *config.images));
  config.images = kMostImagesInMemory;
  return config;
}

std::vector<Tensor> calibration_images(const ImageTask& data, const CalibrationConfig& config) {
  Loader loader = data.calibration(config);
  loader.start_epoch(0);
  std::vector<Tensor> batches;
  while (const auto batch = loader.next()) batches.push_back(batch->images);
  return batches;
}

// The images, and what config.augmentations adds to them.
std::vector<Tensor> images_to_learn(const std::vector<Tensor>& images, const ImageTask& data,
                                    const CalibrationConfig& config) {
  std::vector<Tensor> batches = images;
  const auto augmented = data.augmented_calibration(config);
  for (int64_t epoch = 0; epoch < config.augmentations; ++epoch) {
    augmented->start_epoch(epoch, 0);
    while (const auto batch = augmented->next()) batches.push_back(batch->inputs[0]);
  }
  return batches;
}

void correct(Module& model, const Quantized& quantized, std::span<const Tensor> batches, const std::string& label,
             KeptCorrections* kept) {
  int64_t images = 0;
  for (const Tensor& batch : batches) images += batch.dim(0);
  std::optional<Progress> progress;
  size_t before = 0;
  const std::vector<std::string> remarks = quantized.quantizer->correct(
      model, *quantized.reference, batches,
      [&](const std::string& path, size_t done, size_t all) {
        if (std::exchange(before, done) >= done) progress.reset();  // the next correction
        if (!progress) progress.emplace(label + "  corrections", images * static_cast<int64_t>(all));
        progress->update(images * static_cast<int64_t>(done), path);
      },
      kept);
  progress.reset();
  for (const std::string& remark : remarks) note(fmt::format("{}: {}", label, remark));
}

}  // namespace

const ImageTask& images_of(const Task& task) {
  const ImageTask* data = task.on_images();
  check(data, "calibration and post-training quantization need a data set of images, not one of ratings");
  return *data;
}

void check_measures(const CalibrationConfig& config) {
  check(!config.statistics, "calibration.statistics: statistics are measured here, so that those of '{}' have no use",
        config.statistics.value_or(""));
}

void check_calibration(const Task& task, const std::optional<CalibrationConfig>& config, const std::string& file,
                       const char* key, bool corrects) {
  if (!config) return;
  const std::string where = fmt::format("{}: {}", file, key);
  if (config->augmentations > 0 && !corrects)
    config_error(where + ".augmentations", "nothing learns from images here, since nothing is corrected");
  images_of(task).check_calibration(*config, where);
  const int64_t images = images_of(task).calibration(*config).images(), all = images * (1 + config->augmentations);
  if (config->augmentations > 0 && all > kMostImagesInMemory)
    config_error(where + ".augmentations", "{} images and {} more of each are {}, expected {} at the most", images,
                 config->augmentations, all, kMostImagesInMemory);
}

bool is_post_training(const Config& quantizer) { return !Registry<Quantizer>::create(quantizer)->trains(); }
bool has_corrections(const Config& quantizer) { return Registry<Quantizer>::create(quantizer)->has_corrections(); }

QuantStats calibration_stats(Module& model, const ImageTask& data, const CalibrationConfig& config,
                             const std::string& label) {
  Loader loader = data.calibration(config);
  Progress progress(label + "  calibration", 2 * loader.images());
  int64_t done = 0;
  QuantStats stats = collect_quant_stats(model, [&] {
    loader.start_epoch(0);
    while (const auto batch = loader.next()) {
      model(batch->images);
      done += batch->images.dim(0);
      progress.update(done, "");
    }
  });
  return stats;
}

void check_statistics(Module& loaded, const Config& quantizer, const std::optional<CalibrationConfig>& calibration) {
  placed_at(quantizer, [&] { Registry<Quantizer>::create(quantizer)->check_network(loaded); });
  if (calibration && calibration->statistics)
    check_stats_are_of(read_stats(*calibration->statistics), loaded, *calibration->statistics);
}

Quantized quantize_model(ModulePtr& model, const QuantizationSetup& setup) {
  const Config& quantizer = setup.quantizer;
  const Task& task = setup.task;
  const std::optional<CalibrationConfig>& calibration = setup.calibration;
  Quantized result{.quantizer = Registry<Quantizer>::create(quantizer), .config = {}, .reference = {}, .images = {}};
  Quantizer& made = *result.quantizer;
  const bool takes_stats = calibration && made.wants_stats();
  CalibrationConfig images;
  if (!made.trains()) {
    result.reference = twin_of(*model, setup.architecture);
    made.prepare_float(result.reference, images_of(task).example());
    images = in_memory(calibration.value_or(CalibrationConfig{}));
    result.images = calibration_images(images_of(task), images);
  }
  if (made.changes_activations()) {
    check(made.wants_stats() && !(calibration && calibration->statistics),
          "{}: cross_layer_equalization changes what flows through the layers, so that statistics measured before do "
          "not hold: leave out the statistics",
          quantizer.where());
    made.prepare_float(model, images_of(task).example());
  }
  if (takes_stats && calibration->statistics) {
    const std::optional<NamedStats> given = stats_from_config({*calibration->statistics, quantizer.file, ""});
    made.set_stats(given->stats, given->name);
  } else if (takes_stats) {
    std::optional<QuantStats> own;
    const bool as_others = setup.measured && !made.changes_activations();
    std::optional<QuantStats>& stats = as_others ? *setup.measured : own;
    if (!stats) stats = calibration_stats(*model, images_of(task), *calibration, setup.label);
    made.set_stats(*stats);
  }
  result.config = made.self_contained({Registry<Quantizer>::resolve(quantizer), quantizer.file, quantizer.path});
  const std::vector<Tensor> example = example_inputs(setup.architecture, task.description());
  placed_at(quantizer, [&] { made.prepare(model, setup.optimizer, example); });
  if (!made.trains()) {
    model->set_training(false);
    if (made.has_corrections())
      correct(*model, result, images_to_learn(result.images, images_of(task), images), setup.label, setup.kept);
  } else if (const std::string left = in_words(left_in_float(*model, example)); !left.empty()) {
    note(fmt::format("{}: {}", setup.label, left));
  }
  return result;
}

ModulePtr float_reference(const Config& config, const ImageTask& images) {
  const auto checkpoint = config.at("checkpoint").json().get<std::string>();
  ModulePtr model = build_model(config.at("model"), config.at("seed").json().get<uint64_t>(), checkpoint);
  model->set_training(false);
  Registry<Quantizer>::create(config.at("quantizer"))->prepare_float(model, images.example());
  return model;
}

Config without_corrections(Config quantizer) {
  for (const std::string& key : Registry<Quantizer>::create(quantizer)->correction_keys()) quantizer.json().erase(key);
  return quantizer;
}

void add_corrections(const Config& from, Json& to) {
  for (const std::string& key : Registry<Quantizer>::create(from)->correction_keys())
    if (from.has(key)) to[key] = from.json()[key];
}

void check_post_training(const ExperimentConfig& experiment, Config quantizer, const Task& task,
                         std::optional<CalibrationConfig> calibration) {
  constexpr int64_t kImages = 16;
  if (calibration) calibration->images = std::min(images_of(task).calibration(*calibration).images(), kImages);
  quantizer = without_corrections(std::move(quantizer));
  ModulePtr model = build_model(experiment.model, experiment.seed, experiment.checkpoint);
  quantize_model(model, {.architecture = experiment.model,
                         .quantizer = quantizer,
                         .task = task,
                         .label = "check",
                         .calibration = calibration});
  const EvaluationMode evaluating(*model);
  placed_at(quantizer, [&] { return (*model)(images_of(task).example()); });
}

int64_t packed_bytes(Module& model, const Quantizer* quantizer) {
  std::map<std::string, Bits> bits;
  if (quantizer)
    for (const Quantizer::Resolved& layer : quantizer->resolved()) bits[layer.path] = layer.bits;
  int64_t total = 0;
  for (const Parameter* p : all_parameters(model)) {
    if (p->name() == kFloatWeight) continue;
    const Bits layer = bits[p->owner().path()];
    const int width = (is_bias(*p) ? layer.bias : layer.weights).value_or(32);
    total += (p->raw().numel() * width + 7) / 8;
  }
  return total;
}

Json resolved_layers(const Quantizer& quantizer) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json layers = Json::array();
  for (const Quantizer::Resolved& layer : quantizer.resolved())
    layers.push_back({{"path", layer.path},
                      {"kind", layer.kind},
                      {"bits_weights", or_null(layer.bits.weights)},
                      {"bits_activations", or_null(layer.bits.activations)},
                      {"bits_bias", or_null(layer.bits.bias)},
                      {"settings", layer.settings.json()},
                      {"pattern", or_null(layer.pattern)}});
  return layers;
}

}  // namespace qgrad
