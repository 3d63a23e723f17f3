// Saving and rebuilding models.
#include "apps/model_file.h"

#include "nn/checkpoint.h"

namespace qgrad {
namespace {

// What a checkpoint's metadata says, besides the experiment itself.
struct ModelMetadata : ExperimentConfig {
  std::optional<Config> quantizer;
  Json metrics;
};
template <class V>
void fields(V& v, ModelMetadata& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "null for float models"});
  v("metrics", c.metrics, {.help = "on the test images, when it was saved"});
}

// Data for a model that was recognised by its tensors: CIFAR-10 as Distiller normalises it, to [-1, 1].
Config default_data(const Architecture& architecture, const std::string& file) {
  check(architecture.image_shape() == Shape{32, 32, 3},
        "{}: the file does not say which data it is for; give a config with --config", file);
  return {{{"dataset", {{"class", "cifar10"}}}, {"transforms", {{"mean", {0.5}}, {"std", {0.5}}}}}, file, "data"};
}

ModelMetadata guess_metadata(const Checkpoint& checkpoint) {
  const std::string file = checkpoint.file.string();
  const auto model = guess_architecture(checkpoint);
  check(model.has_value(),
        "{}: no qgrad metadata, and its tensors are those of no known model; give a config with --config", file);
  ModelMetadata metadata;
  metadata.name = checkpoint.file.stem().string();
  metadata.model = {*model, file, "model"};
  metadata.data = read_config<DataConfig>(default_data(*Registry<Architecture>::create(metadata.model), file));
  return metadata;
}

// "data" and "model" (and the quantizer, if it is there) of a config for any command.
ModelMetadata metadata_from_config(const Config& config) {
  ModelMetadata metadata;
  metadata.name = config.file;
  metadata.model = config.at("model");
  metadata.data = read_config<DataConfig>(config.at("data"));
  if (config.has("quantizer") && !config.at("quantizer").value.is_null()) metadata.quantizer = config.at("quantizer");
  return metadata;
}

}  // namespace

Json config_for_results(const std::optional<Config>& quantizer) {
  if (!quantizer) return nullptr;
  Json json = quantizer->value;
  if (json.contains("model_activation_stats") && json["model_activation_stats"].is_object())
    json["model_activation_stats"] = "in the checkpoint's metadata";
  return json;
}

void save_model(const std::filesystem::path& file, Module& model, const ExperimentConfig& experiment,
                const std::optional<Config>& quantizer, const Json& metrics) {
  ModelMetadata metadata;
  static_cast<ExperimentConfig&>(metadata) = experiment;
  metadata.checkpoint.reset();
  metadata.quantizer = quantizer;
  metadata.metrics = metrics;
  save_checkpoint(file, model, write_config(metadata));
}

ModelFile load_model(const std::filesystem::path& file, const std::optional<Config>& config) {
  const Checkpoint checkpoint = read_checkpoint(file);
  ModelFile loaded;
  ModelMetadata metadata;
  if (config) {
    metadata = metadata_from_config(*config);
  } else if (checkpoint.config.is_null()) {
    metadata = guess_metadata(checkpoint);
    loaded.guessed = true;
  } else {
    metadata = read_config<ModelMetadata>({checkpoint.config, file.string(), ""});
  }
  loaded.model = Registry<Architecture>::create(metadata.model)->make();
  if (metadata.quantizer) {
    loaded.quantizer = Registry<Quantizer>::create(*metadata.quantizer);
    loaded.quantizer->prepare(loaded.model, nullptr, example_inputs(metadata.model));
  }
  load_state(*loaded.model, checkpoint);
  loaded.model->set_training(false);
  loaded.experiment = metadata;
  loaded.quantizer_config = metadata.quantizer;
  return loaded;
}

}  // namespace qgrad
