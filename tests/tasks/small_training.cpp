// What the command does, without the command.
#include "tasks/small_training.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/ranks.h"
#include "quant/quantizer.h"
#include "tasks/model_file.h"
#include "tasks/quantization.h"

namespace qgrad::test {

ExperimentConfig small_experiment() {
  ExperimentConfig config;
  config.name = "t";
  config.data.dataset = Config{{{"class", "digits"}}, "", "dataset"};
  config.data.transforms.crop_padding = 1;
  config.data.train_images = 32 * kSmallSteps;
  config.model = Config{{{"class", "convnet"}, {"width", 4}, {"classes", 10}}, "", "model"};
  return config;
}

TrainConfig small_training(int epochs) {
  TrainConfig config;
  config.epochs = epochs;
  config.batch_size = 32;
  config.schedule = Config{{{"class", "cosine"}}, "", "schedule"};
  config.log_steps = 3;
  config.tensorboard = true;
  config.oscillations = OscillationConfig{.dampening = 0.1f, .momentum = 0.3f, .freeze_above = 0.2f};
  return config;
}

TrainingResult train_small(const std::filesystem::path& path, const TrainConfig& config, const Task& task,
                           bool resume) {
  const bool writes = !ranks() || ranks()->is_first();
  const auto opened = writes ? std::make_unique<OutputFolder>(path)
                             : std::make_unique<OutputFolder>(path, OutputFolder::LockedByFirst::yes);
  OutputFolder& folder = *opened;
  const ExperimentConfig setup = small_experiment();
  ModulePtr model = build_model(setup.model, setup.seed, std::nullopt);
  const auto optimizer = make_optimizer(config.optimizer, *model);
  const Config lsq{{{"class", "LSQQuantizer"}, {"bits_weights", 4}, {"bits_activations", 4}}, "", "quantizer"};
  const Quantized quantized = quantize_model(
      model,
      {.architecture = setup.model, .quantizer = lsq, .task = task, .label = "test", .optimizer = optimizer.get()});
  const auto save = [&](const std::string& name, const Json& metrics) {
    save_model(folder.to_write(name), *model, setup, task, quantized.config, metrics);
  };
  const ResumePoint point{
      .folder = folder,
      .name = "training.safetensors",
      .resume = resume,
      .config = Json::object(),
      .save_checkpoint = save,
      .show = [&](const TrainingResult& so_far) { write_json(folder.to_write("shown.json"), so_far.epochs_json()); }};
  const TrainingResult result = train(*model, *optimizer, task, config, "test", point);
  if (writes) save("model.safetensors", nullptr);
  return result;
}

std::string bytes_of(const std::filesystem::path& file) { return read_file(file, "a file"); }

}  // namespace qgrad::test
