// Options, configs and output of the subcommands.
#include "apps/command.h"

#include <fmt/format.h>

#include "core/parallel.h"

namespace qgrad {

std::shared_ptr<CommonOptions> add_common_options(CLI::App& command) {
  auto options = std::make_shared<CommonOptions>();
  command.add_option("--set", options->set, "set a config value: --set train.optimizer.lr=0.05")
      ->allow_extra_args(false);
  command.add_option("--out", options->out, "folder for everything that is written");
  command.add_option("--data", options->data, "folder of the data set");
  command.add_option("--seed", options->seed, "seed of all random streams");
  command.add_option("--threads", options->threads, "number of threads; the results do not depend on it")
      ->check(CLI::Range(1, 256));
  command.add_flag("--quick", options->quick, "with the config's \"quick\" settings: a shorter run of the same");
  command.add_flag("--json", options->json, "print one JSON document on stdout");
  command.parse_complete_callback([options] {
    if (options->threads) set_num_threads(*options->threads);
  });
  return options;
}

void add_file_command(CLI::App& app, const std::string& name, const std::string& help, const std::string& argument,
                      FileCommand run) {
  CLI::App& command = *app.add_subcommand(name, help);
  const auto options = add_common_options(command);
  const auto file = std::make_shared<std::string>();
  command.add_option(argument, *file, argument == "CONFIG" ? "JSON config" : "file")->required();
  command.callback([=] { run(*file, *options); });
}

void add_resumable_command(CLI::App& app, const std::string& name, const std::string& help, ResumableCommand run) {
  CLI::App& command = *app.add_subcommand(name, help);
  const auto options = add_common_options(command);
  const auto file = std::make_shared<std::string>(), folder = std::make_shared<std::string>();
  CLI::Option* config = command.add_option("CONFIG", *file, "JSON config");
  CLI::Option* resume = command.add_option("--resume", *folder, "go on with what stopped in this folder, bit for bit");
  resume->excludes(config);
  for (const char* other : {"--set", "--seed", "--out", "--quick"}) resume->excludes(command.get_option(other));
  command.callback([=] {
    const bool resumes = resume->count() > 0;
    if (!resumes && config->count() == 0) throw CLI::RequiredError("CONFIG or --resume");
    const std::optional<std::filesystem::path> stopped = resumes ? std::optional(*folder) : std::nullopt;
    run(resumes ? (*stopped / "config.json").string() : *file, stopped, *options);
  });
}

Config read_command_config(const std::string& file, const CommonOptions& options) {
  Config config = Config::read(file);
  if (!config.value.is_object()) return config;  // an error where it is read
  config.value.erase("$schema");
  if (options.quick) config.value.merge_patch(config.at("quick").value);
  config.value.erase("quick");
  for (const std::string& assignment : options.set) set_config_value(config, assignment);
  if (options.seed) config.value["seed"] = *options.seed;
  return config;
}

void print_result(const CommonOptions& options, const Json& json, const std::string& text) {
  fmt::print("{}", options.json ? json_text(json) : text);
}

}  // namespace qgrad
