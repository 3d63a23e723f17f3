// qgrad train CONFIG: float or quantization-aware training.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/plan.h"
#include "apps/processes.h"
#include "apps/report/report.h"
#include "apps/run_facts.h"
#include "quant/train/fake_quant.h"
#include "tasks/image_settings.h"
#include "tasks/layer_facts.h"
#include "tasks/model_file.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"
#include "tasks/stop_signals.h"
#include "tasks/training.h"
#include "tasks/training_events.h"
#include "tasks/training_setup.h"
#include "tasks/training_state.h"

namespace qgrad {
namespace {

struct TrainCommandConfig : ExperimentConfig {
  TrainConfig train;
  std::optional<ClassConfig<Quantizer>> quantizer;
  std::optional<CalibrationConfig> calibration, fold_batch_norms;
};
void fields(Fields& v, TrainCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("train", c.train, {.help = "epochs, batch size, optimizer, schedule", .required = true});
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings; null: float training"});
  v("calibration", c.calibration,
    {.help = "images that set the ranges a quantizer starts from, where it takes statistics; null: the first batches"});
  v("fold_batch_norms", c.fold_batch_norms,
    {.help =
         "fold the batch norms of the trained, quantized model too, for model_folded.safetensors; these images then "
         "set the activation ranges again unless batch_norm_folding is \"simulated\"; null: do not fold"});
}

// The model as its config says to train it, quantized or not. What would be refused after training is refused now.
Quantized quantized_model(ModulePtr& model, const TrainCommandConfig& config, const std::string& file,
                          Optimizer& optimizer, const Task& task) {
  check_calibration(task, config.calibration, file, "calibration");
  check_calibration(task, config.fold_batch_norms, file, "fold_batch_norms");
  if (!config.quantizer) {
    check(!config.calibration, "{}: calibration: there is no quantizer to set ranges of", file);
    if (config.fold_batch_norms) images_of(task);
    check(!config.fold_batch_norms, "{}: fold_batch_norms: there is no quantizer", file);
    return {};
  }
  if (is_post_training(*config.quantizer))
    config_error(config.quantizer->where(), "a post-training quantizer does not train; use `qgrad quantize`");
  check_statistics(*model, *config.quantizer, config.calibration);
  Quantized quantized = quantize_model(model, {.architecture = config.model,
                                               .quantizer = *config.quantizer,
                                               .task = task,
                                               .label = config.name,
                                               .calibration = config.calibration,
                                               .optimizer = &optimizer});
  if (config.fold_batch_norms) {
    images_of(task);
    quantized.quantizer->check_can_fold();
  }
  return quantized;
}

std::optional<Config> config_of(const Quantized& quantized) {
  return quantized.quantizer ? std::optional(quantized.config) : std::nullopt;
}

// What results.json says of the training, or of its epochs so far.
Json results_of(const TrainCommandConfig& config, const Task& task, const Quantized& quantized,
                const TrainingResult& training) {
  Json results = {{"name", config.name},
                  {"seed", config.seed},
                  {"dataset", task.describe()},
                  {"model", config.model.json()},
                  {"quantizer", config_for_results(config_of(quantized))},
                  {"best_epoch", training.best_epoch},
                  {"seconds", training.seconds},
                  {"epochs", training.epochs_json()}};
  if (quantized.quantizer) results["layers"] = resolved_layers(*quantized.quantizer);
  return results;
}

// Folds the trained model's batch norms, measures its activation ranges again where that changes what is quantized,
// evaluates and saves it.
Json finish_folded(ModulePtr& model, const Quantized& quantized, const TrainCommandConfig& config, const Task& task,
                   OutputFolder& folder) {
  const ImageTask& data = images_of(task);
  Config quantizer = quantized.config;
  quantizer = quantized.quantizer->fold_trained(model, data.example(), std::move(quantizer));
  if (quantized.quantizer->ranges_change_when_folded()) {
    Loader loader = data.calibration(*config.fold_batch_norms);
    measure_ranges_again(*model, [&] {
      loader.start_epoch(0);
      while (const auto batch = loader.next()) (*model)(batch->images);
    });
  }
  Json results = task.evaluate(*model, Task::Part::test, "test, folded");
  const std::filesystem::path file = folder.to_write("model_folded.safetensors");
  save_model(file, *model, config, task, quantizer, results);
  results["checkpoint"] = file.string();
  return results;
}

// Saves the trained model, completes and writes the results, and returns the page of the report.
std::filesystem::path finish(ModulePtr& model, const Quantized& quantized, const TrainCommandConfig& config,
                             const Task& task, OutputFolder& folder, Json& results, const Json& facts) {
  const std::filesystem::path checkpoint = folder.to_write("model.safetensors");
  save_model(checkpoint, *model, config, task, config_of(quantized), results["test"]);
  results["checkpoint"] = checkpoint.string();
  Json layers;
  if (quantized.quantizer) {
    layers["layers"] = to_json(trained_layer_facts(*model, shown_examples(task, config.train.seed).inputs));
    write_json(folder.to_write("report.json"), layers);
  }
  if (config.fold_batch_norms) results["folded"] = finish_folded(model, quantized, config, task, folder);
  write_results(folder, "train", results, facts);
  return write_report(folder, training_report(results, layers));
}

void run_train(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
               const CommonOptions& options) {
  auto config = read_command_config<TrainCommandConfig>(config_file, options);
  const auto shared = shared_folder(resume ? *resume : output_folder(options.out, config.name));
  OutputFolder& folder = *shared;
  if (!resume && is_first_process()) check_unused(folder.path());
  const auto task = open_task(config, options.data);
  check_labelled(*task);
  config.model = with_data(config.model, task->description());
  ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  const auto optimizer = make_optimizer(config.train.optimizer, *model);
  const Quantized quantized = quantized_model(model, config, config_file, *optimizer, *task);
  const std::optional<Config> quantizer = config_of(quantized);
  const Json resolved = resolved_config(config, *task), facts = options.dry_run ? Json() : run_facts(*task, resolved);
  const ResumePoint point{.folder = folder,
                          .name = "training.safetensors",
                          .resume = resume.has_value(),
                          .config = resolved,
                          .run = facts,
                          .save_checkpoint =
                              [&](const std::string& name, const Json& metrics) {
                                save_model(folder.to_write(name), *model, config, *task, quantizer, metrics);
                              },
                          .show =
                              [&](const TrainingResult& so_far) {
                                Json results = results_of(config, *task, quantized, so_far);
                                results["running"] = {{"of_epochs", config.train.epochs}};
                                write_report(folder, training_report(results, nullptr));
                              }};
  check_resumable(point, config.train, *task);
  Ranks* const group = training_ranks();
  {
    const TrainingWith others(group);
    check_training(*model, *make_optimizer(config.train.optimizer, *model), *task, config.train);
  }
  if (options.dry_run && !is_first_process()) return;
  if (options.dry_run)
    return print_plan(options, *model, quantized.quantizer.get(), quantized.config.json(),
                      {{"data", task->describe()},
                       {"epochs", config.train.epochs},
                       {"steps_per_epoch", steps_per_epoch(config.train, *task)},
                       {"folder", folder.path().string()}});
  folder.check_spares(files_of(facts),
                      {"model.safetensors", "best.safetensors", "last.safetensors", "model_folded.safetensors"});
  const std::filesystem::path state = folder.path() / point.name;
  check_alike(resolved, facts, point.is_there() ? crc32c_of_file(state) : nullptr);
  if (is_first_process()) write_json(folder.to_write("config.json"), resolved);

  TrainingResult training;
  Json test;
  {
    const TrainingWith others(group);
    const StopSignals stop_signals;
    training = train(*model, *optimizer, *task, config.train, config.name, point);
    test = task->evaluate(*model, Task::Part::test, "test");
  }
  if (!is_first_process()) return;
  Json results = results_of(config, *task, quantized, training);
  results["test"] = test;
  const std::filesystem::path page = finish(model, quantized, config, *task, folder, results, facts);
  print_result(options, results,
               fmt::format("test {}  (epoch {} of {})\n{}\n{}\n", metrics_text(test), training.best_epoch,
                           config.train.epochs, results["checkpoint"].get<std::string>(), page.string()));
}

const Subcommand train_command =
    resumable_command<TrainCommandConfig>("train", "float or quantization-aware training", run_train,
                                          "qgrad train configs/cifar10_resnet20_train.json --out out/float\n"
                                          "qgrad train CONFIG --dry-run\n"
                                          "qgrad train CONFIG --set train.optimizer.lr=0.05 --epochs 20\n"
                                          "qgrad train --resume out/float --epochs 200    # trains longer",
                                          {"--epochs", "--keep", "--dry-run"});

}  // namespace

}  // namespace qgrad
