// Saving and rebuilding models.
#include "tasks/model_file.h"

#include <nlohmann/json.hpp>

#include "core/memory.h"
#include "nn/checkpoint.h"
#include "tasks/image_settings.h"
#include "tasks/metrics.h"
#include "tasks/progress.h"
#include "tasks/recommendation.h"

namespace qgrad {
namespace {

constexpr size_t kMostBytes = size_t{1} << 32;  // beside parameters: of an example on its way through the network

size_t bytes_of(const NamedTensors& tensors) {
  size_t bytes = 0;
  for (const auto& [name, tensor] : tensors) bytes += static_cast<size_t>(tensor.numel()) * sizeof(float);
  return bytes;
}

// What a checkpoint's metadata says, besides the experiment itself.
struct ModelMetadata : ExperimentConfig {
  std::optional<DataConfig> saved_data;
  std::optional<DataDescription> trained_on;
  std::optional<Config> quantizer;
  Json metrics;
};
void fields(Fields& v, ModelMetadata& c) {
  v("name", c.name, {.help = "name of the experiment", .required = true});
  v("seed", c.seed, {.help = "seed of all random streams"});
  v("data", c.saved_data, {.help = "data set, transforms, split; null: the file is of others"});
  v("model", c.model, {.help = "the model's class and settings", .required = true});
  v("checkpoint", c.checkpoint, {.help = "what it was trained from"});
  v("trained_on", c.trained_on, {.help = "what the data were like; null in files of earlier versions"});
  v("quantizer", c.quantizer, {.help = "null for float models"});
  v("metrics", c.metrics, {.help = "on the test images, when it was saved"});
}

// Data for a model that was recognised by its tensors: CIFAR-10 as Distiller normalises it, to [-1, 1], or no data set,
// and images as torchvision normalises them for networks of ImageNet.
DataConfig default_data(const Architecture& architecture) {
  DataConfig data;
  if (architecture.image_shape() == Shape{32, 32, 3}) {
    data.dataset.json() = {{"class", "cifar10"}};
    data.transforms.mean = data.transforms.std = std::vector<float>{0.5f};
  } else if (architecture.image_shape() == Shape{224, 224, 3}) {
    data.transforms.mean = std::vector<float>{0.485f, 0.456f, 0.406f};
    data.transforms.std = std::vector<float>{0.229f, 0.224f, 0.225f};
  }
  return data;
}

ModelMetadata guess_metadata(const Checkpoint& checkpoint) {
  const std::string file = checkpoint.file.string();
  const auto model = guess_architecture(checkpoint);
  check(model.has_value(),
        "{}: no qgrad metadata, and its tensors are those of no known model; give a config with --config", file);
  ModelMetadata metadata;
  metadata.name = checkpoint.file.stem().string();
  metadata.model = {*model, file, "model"};
  metadata.data = default_data(*Registry<Architecture>::create(metadata.model));
  return metadata;
}

// "data" and "model" (and the quantizer, if it is there) of a config for any command.
ModelMetadata metadata_from_config(const Config& config) {
  ModelMetadata metadata;
  metadata.name = config.file;
  metadata.model = config.at("model");
  metadata.data = read_config<DataConfig>(config.at("data"));
  if (config.has("quantizer") && !config.at("quantizer").json().is_null()) metadata.quantizer = config.at("quantizer");
  return metadata;
}

// Throws where a config says otherwise than the file that it goes with. What it leaves open is no difference, nor are
// statistics, which the file has from a calibration.
template <class Base>
void check_as_saved(const Config& given, const std::optional<Config>& saved, const std::string& file) {
  const Json is = given.json().is_null() ? Json() : Registry<Base>::resolve(given);
  const Json was = saved ? Registry<Base>::resolve(*saved) : Json();
  const auto check_equal = [&](const std::string& where, const Json& a, const Json& b) {
    if (a != b) config_error(where, "is {}, but {} was saved with {}", json_line(a), file, json_line(b));
  };
  if (is.is_null() || was.is_null()) return check_equal(given.where(), is, was);
  for (const auto& [key, value] : given.json().items())
    if (key != "model_activation_stats") check_equal(given.where(key), is.at(key), was.value(key, Json()));
}

// As far as a config says it, the images having as many channels as the known ones unless it says that too.
DataDescription configured(const DataConfig& config, const DataDescription& known) {
  DataDescription data{.image = configured_image(with_image(config.dataset, known.image))};
  const std::vector<int64_t>& image = data.image.empty() ? known.image : data.image;
  if (image.empty()) return data;
  auto [mean, std] = normalisation(config.transforms, image.back());
  if (config.transforms.mean) data.mean = std::move(mean);
  if (config.transforms.std) data.std = std::move(std);
  return data;
}

// The metadata with the data of a config for any command, which must say nothing else about the network.
ModelMetadata with_data_of(const Config& config, ModelMetadata metadata, const std::string& file,
                           const DataDescription& known) {
  if (config.has("model")) check_as_saved<Architecture>(config.at("model"), metadata.model, file);
  if (config.has("quantizer")) check_as_saved<Quantizer>(config.at("quantizer"), metadata.quantizer, file);
  metadata.data = read_config<DataConfig>(config.at("data"));
  check_agree({config.file, configured(metadata.data, known)}, {file, known});
  return metadata;
}

// The description that a file holds, or, if it is of an earlier version, what else in it says.
DataDescription description_of(const ModelMetadata& metadata) {
  if (metadata.trained_on) return *metadata.trained_on;
  DataDescription known;
  if (metadata.data.dataset.is_null() || is_recommendation(metadata.data.dataset)) return known;
  known.image = configured_image(metadata.data.dataset);
  auto [mean, std] = normalisation(metadata.data.transforms, example_inputs(metadata.model, known).front().dim(-1));
  known.mean = std::move(mean);
  known.std = std::move(std);
  return known;
}

std::optional<ModelMetadata> metadata_of(const Checkpoint& checkpoint) {
  if (checkpoint.config.is_null()) return std::nullopt;
  auto metadata = read_config<ModelMetadata>({checkpoint.config, checkpoint.file.string(), ""});
  if (metadata.saved_data) metadata.data = *metadata.saved_data;
  return metadata;
}

}  // namespace

Json config_for_results(const std::optional<Config>& quantizer) {
  if (!quantizer) return nullptr;
  Json json = quantizer->json();
  if (json.contains("model_activation_stats") && json["model_activation_stats"].is_object())
    json["model_activation_stats"] = "in the checkpoint's metadata";
  return json;
}

void save_model(const std::filesystem::path& file, Module& model, const ExperimentConfig& experiment, const Task& task,
                const std::optional<Config>& quantizer, const Json& metrics) {
  check_finite(metrics, file.string());
  ModelMetadata metadata;
  static_cast<ExperimentConfig&>(metadata) = experiment;
  metadata.saved_data = experiment.data;
  metadata.checkpoint.reset();
  metadata.trained_on = task.description();
  metadata.quantizer = quantizer;
  metadata.metrics = metrics;
  Json json = write_config(metadata);
  json["data"] = task.data();
  save_checkpoint(file, model, json);
}

Described described(const std::filesystem::path& checkpoint) {
  const auto metadata = metadata_of(read_checkpoint(checkpoint));
  return {checkpoint.string(), metadata ? description_of(*metadata) : DataDescription{}};
}

Config dataset_of(const ModelFile& file, const std::optional<std::string>& folder) {
  check(!file.experiment.data.dataset.is_null(),
        "{}: the file does not say which data it is for; give a config with --config", file.trained_on.whose);
  Config dataset = with_image(file.experiment.data.dataset, file.trained_on.data.image);
  if (dataset.file == file.trained_on.whose && dataset.has("dir") && dataset.json()["dir"].is_string() && !folder) {
    const std::string read = dataset.json()["dir"].get<std::string>();
    if (!std::filesystem::exists(read)) {
      note(fmt::format("{}: the folder of its data, {}, is not there", dataset.file, read));
      dataset.json()["dir"] = nullptr;
    }
  }
  return dataset;
}

Json evaluate(const ModelFile& file, const Task& task, const std::string& label) {
  const ImageTask* images = task.on_images();
  if (images && !file.quantizer_config) return evaluate_float(*file.model, images->test(), label).to_json();
  return task.evaluate(*file.model, Task::Part::test, label);
}

std::unique_ptr<Task> open_task(const ModelFile& file, const std::optional<std::string>& folder) {
  ExperimentConfig experiment = file.experiment;
  experiment.data.dataset = dataset_of(file, folder);
  return open_task(experiment, folder, file.trained_on);
}

ModelFile load_model(const std::filesystem::path& file, const std::optional<Config>& config) {
  const Checkpoint checkpoint = read_checkpoint(file);
  // Whatever network the file describes, its numbers are in the file.
  const MemoryLimit limit(kMostBytes + 4 * bytes_of(checkpoint.tensors));
  ModelFile loaded;
  loaded.trained_on.whose = file.string();
  ModelMetadata metadata;
  if (const auto saved = metadata_of(checkpoint)) {
    loaded.trained_on.data = placed_at({nullptr, file.string(), ""}, [&] { return description_of(*saved); });
    metadata = config ? with_data_of(*config, *saved, file.string(), loaded.trained_on.data) : *saved;
  } else if (config) {
    metadata = metadata_from_config(*config);
  } else {
    metadata = guess_metadata(checkpoint);
    loaded.guessed = true;
  }
  loaded.model = Registry<Architecture>::create(metadata.model)->make();
  if (metadata.quantizer) {
    loaded.quantizer = Registry<Quantizer>::create(*metadata.quantizer);
    loaded.quantizer->prepare(loaded.model, nullptr, example_inputs(metadata.model, loaded.trained_on.data));
  }
  load_state(*loaded.model, checkpoint);
  loaded.model->set_training(false);
  loaded.experiment = metadata;
  loaded.quantizer_config = metadata.quantizer;
  return loaded;
}

}  // namespace qgrad
