// qgrad evaluate CHECKPOINT: accuracy and loss on the test images.
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
  const ExperimentData data(file.experiment.data, file.experiment.seed, options.data);
  const Metrics test = file.quantizer_config ? evaluate(*file.model, data.test(), "test")
                                             : evaluate_float(*file.model, data.test(), "test");
  Json results = {{"checkpoint", chosen.checkpoint},
                  {"model", file.experiment.model.value},
                  {"dataset", data.describe()},
                  {"quantizer", config_for_results(file.quantizer_config)}};
  results.update(test.to_json());
  if (options.out) write_json(std::filesystem::path(*options.out) / "results.json", results);
  print_result(options, results,
               fmt::format("{} images: top1 {:.2f}  top5 {:.2f}  loss {:.5f}\n", test.images, test.top1(), test.top5(),
                           test.loss()));
}

}  // namespace

void add_evaluate_command(CLI::App& app) {
  CLI::App& command = *app.add_subcommand("evaluate", "top-1, top-5 and loss of a checkpoint on the test images");
  const auto options = add_common_options(command);
  const auto chosen = std::make_shared<EvaluateOptions>();
  command.add_option("CHECKPOINT", chosen->checkpoint, "safetensors file")->required();
  command.add_option("--config", chosen->config, "config with data and model, for files that do not say");
  command.callback([=] { run(*chosen, *options); });
}

}  // namespace qgrad
