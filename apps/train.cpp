// qgrad train CONFIG: float or quantization-aware training.
#include <fmt/format.h>

#include "apps/command.h"
#include "apps/model_file.h"
#include "apps/quantization.h"
#include "apps/training.h"

namespace qgrad {
namespace {

struct TrainCommandConfig : ExperimentConfig {
  TrainConfig train;
  std::optional<Config> quantizer;
  std::optional<CalibrationConfig> calibration;
};
template <class V>
void fields(V& v, TrainCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("train", c.train, {.help = "epochs, batch size, optimizer, schedule", .required = true});
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings; null: float training"});
  v("calibration", c.calibration,
    {.help = "images that set the ranges a quantizer starts from, where it takes statistics; null: the first batches"});
}

void run(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
         const CommonOptions& options) {
  const auto config = read_config<TrainCommandConfig>(read_command_config(config_file, options));
  const auto folder = resume ? *resume : output_folder(options.out, config.name);
  const ExperimentData data(config.data, config.seed, options.data);
  ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  const auto optimizer = Registry<Optimizer>::create(config.train.optimizer);
  optimizer->add_param_group({.name = "default", .parameters = all_parameters(*model)});
  std::optional<Config> quantizer_config;
  Quantized quantized;
  if (config.quantizer) {
    if (is_post_training(*config.quantizer))
      config_error(config.quantizer->where(), "a post-training quantizer does not train; use `qgrad quantize`");
    quantized =
        quantize_model(model, config.model, *config.quantizer, optimizer.get(), data, config.calibration, config.name);
    quantizer_config = quantized.config;
  }
  write_json(folder / "config.json", write_config(config));

  const TrainingResult training = train(*model, *optimizer, data, config.train, config.name,
                                        ResumePoint{folder / "training.safetensors", resume.has_value()});
  const Metrics test = evaluate(*model, data.test(), "test");
  save_model(folder / "model.safetensors", *model, config, quantizer_config, test.to_json());
  const Json results = {{"name", config.name},
                        {"seed", config.seed},
                        {"dataset", data.describe()},
                        {"model", config.model.value},
                        {"quantizer", quantizer_config ? quantizer_config->value : Json(nullptr)},
                        {"best_epoch", training.best_epoch},
                        {"test", test.to_json()},
                        {"seconds", training.seconds},
                        {"epochs", training.epochs_json()},
                        {"checkpoint", (folder / "model.safetensors").string()}};
  write_json(folder / "results.json", results);
  print_result(
      options, results,
      fmt::format("test top1 {:.2f}  top5 {:.2f}  loss {:.4f}  (epoch {} of {})\n{}\n", test.top1(), test.top5(),
                  test.loss(), training.best_epoch, config.train.epochs, (folder / "model.safetensors").string()));
}

}  // namespace

void add_train_command(CLI::App& app) {
  add_resumable_command<TrainCommandConfig>(app, "train", "float or quantization-aware training", run);
}

}  // namespace qgrad
