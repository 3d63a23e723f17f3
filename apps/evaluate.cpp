// qgrad evaluate FILE: how well a checkpoint or an integer program does on the test part of its data.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "apps/run_facts.h"
#include "engine/program_file.h"
#include "tasks/deployment.h"
#include "tasks/metrics.h"
#include "tasks/model_file.h"
#include "tasks/output_folder.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

struct EvaluateOptions {
  std::string file;
  std::optional<std::string> config;
};

struct Evaluation {
  Json about, test;
};

// Of results that are kept.
Json facts_for(const CommonOptions& options, const Task& task) {
  return options.out ? run_facts(task, nullptr) : Json();
}

Evaluation evaluate_program(const std::string& path, const std::optional<Config>& config,
                            const CommonOptions& options) {
  check(config.has_value(), "{}: a program does not say its data: give a config with --config", path);
  const deploy::Engine engine(deploy::read_program(path));
  const ImageTask data(read_config<DataConfig>(config->at("data")), /*seed=*/1, options.data,
                       Described{path, describe(engine.program())});
  check_labelled(data);
  const EngineRun run = run_engine(engine, data.test(), "test");
  return {{{"program", path},
           {"dataset", data.describe()},
           {"data", data.data()},
           {"run", facts_for(options, data)},
           {"images_per_second", static_cast<double>(run.metrics.images) / run.seconds}},
          run.metrics.to_json()};
}

Evaluation evaluate_checkpoint(const std::string& path, const std::optional<Config>& config,
                               const CommonOptions& options) {
  const ModelFile file = load_model(path, config);
  const std::string model_class = file.experiment.model.json().at("class").get<std::string>();
  if (file.guessed)
    note(fmt::format("{}: no qgrad metadata; its tensors are those of {}, evaluated with that model's default data",
                     path, model_class));
  const auto task = open_task(file, options.data);
  check_labelled(*task);
  return {{{"checkpoint", path},
           {"model", file.experiment.model.json()},
           {"dataset", task->describe()},
           {"data", task->data()},
           {"run", facts_for(options, *task)},
           {"quantizer", config_for_results(file.quantizer_config)}},
          qgrad::evaluate(file, *task, "test")};
}

void run(const EvaluateOptions& chosen, const CommonOptions& options) {
  const bool is_program = deploy::is_program_file(chosen.file);
  std::optional<OutputFolder> folder;
  if (options.out) {
    folder.emplace(*options.out);
    folder->check_results_are_of("evaluate");
    folder->check_spares({chosen.file}, {"results.json"});
  }
  const auto config = read_config_option(
      chosen.config, options,
      is_program ? std::vector<std::string>{"data"} : std::vector<std::string>{"data", "model", "quantizer"});
  const auto [about, test] =
      is_program ? evaluate_program(chosen.file, config, options) : evaluate_checkpoint(chosen.file, config, options);
  check_finite(test, chosen.file);
  Json results = about;
  results.update(test);
  note(fmt::format("data: {}", json_line(results.at("data").at("dataset"))));
  if (folder) write_results(*folder, "evaluate", results, Json(results.at("run")));
  print_result(options, results,
               fmt::format("{} {}: {}\n", test.front().get<int64_t>(), test.begin().key(), metrics_text(test)));
}

const Subcommand evaluate_command{
    "evaluate", "accuracy and loss of a checkpoint or a program on the test images, or how it ranks the test items",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--set", "--out", "--data"});
      const auto chosen = std::make_shared<EvaluateOptions>();
      command.add_option("FILE", chosen->file, "checkpoint (safetensors), or integer program of `qgrad export`")
          ->required();
      command.add_option("--config", chosen->config, "config with data and model, for files that do not say");
      command.callback([=] { run(*chosen, *options); });
    },
    "qgrad evaluate out/float/best.safetensors\n"
    "qgrad evaluate net.qgi --config CONFIG --data FOLDER --json"};

}  // namespace

}  // namespace qgrad
