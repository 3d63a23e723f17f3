// qgrad evaluate CHECKPOINT: how well a model does on the test part of its data.
#include <fmt/format.h>

#include "apps/command.h"
#include "apps/metrics.h"
#include "apps/model_file.h"
#include "apps/progress.h"

namespace qgrad {
namespace {

struct EvaluateOptions {
  std::string checkpoint;
  std::optional<std::string> config;
};

void run(const EvaluateOptions& chosen, const CommonOptions& options) {
  std::optional<Config> config;
  if (chosen.config) config = read_command_config(*chosen.config, options);
  check(config || options.set.empty(), "--set changes a config file: give one with --config");
  const ModelFile file = load_model(chosen.checkpoint, config);
  const std::string model_class = file.experiment.model.value.at("class").get<std::string>();
  if (file.guessed)
    note(fmt::format("{}: no qgrad metadata; its tensors are those of {}, evaluated with that model's default data",
                     chosen.checkpoint, model_class));
  const auto task = open_task(file.experiment, options.data);
  const auto* images = dynamic_cast<const ExperimentData*>(task.get());
  const Json test = images && !file.quantizer_config ? evaluate_float(*file.model, images->test(), "test").to_json()
                                                     : task->evaluate(*file.model, Task::Part::test, "test");
  Json results = {{"checkpoint", chosen.checkpoint},
                  {"model", file.experiment.model.value},
                  {"dataset", task->describe()},
                  {"quantizer", config_for_results(file.quantizer_config)}};
  results.update(test);
  if (options.out) write_json(std::filesystem::path(*options.out) / "results.json", results);
  print_result(options, results,
               fmt::format("{} {}: {}\n", test.front().get<int64_t>(), test.begin().key(), metrics_text(test)));
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand(
      "evaluate", "accuracy and loss of a checkpoint on the test images, or how it ranks the test items");
  const auto options = add_common_options(command);
  const auto chosen = std::make_shared<EvaluateOptions>();
  command.add_option("CHECKPOINT", chosen->checkpoint, "safetensors file")->required();
  command.add_option("--config", chosen->config, "config with data and model, for files that do not say");
  command.callback([=] { run(*chosen, *options); });
}

}  // namespace qgrad
