// What the subcommands share: common options, reading configs, and output.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apps/schema.h"
#include "core/config.h"

namespace qgrad {

struct CommonOptions {
  std::vector<std::string> set;     // --set key=value, in order
  std::optional<std::string> out;   // --out DIR
  std::optional<std::string> data;  // --data DIR
  std::optional<uint64_t> seed;     // --seed N
  std::optional<int> threads;       // --threads N
  bool quick = false;               // --quick: with the config's "quick" settings
  bool json = false;                // --json: stdout is one JSON document
};

// Adds --threads, --json, and those of the options above that are named, to a subcommand.
std::shared_ptr<CommonOptions> add_common_options(CLI::App& command, const std::set<std::string>& names);

// A subcommand whose only argument is a config file, with the schema of C, and with all common options.
using ConfigCommand = void (*)(const std::string& config_file, const CommonOptions& options);
void add_config_command(CLI::App& app, const std::string& name, const std::string& help, ConfigCommand run);
template <HasFields C>
void add_config_command(CLI::App& app, const std::string& name, const std::string& help, ConfigCommand run) {
  register_config_schema(name, schema_of<C>);
  add_config_command(app, name, help, run);
}

// A subcommand with a config file, or --resume DIR: the folder of a run that stopped, whose config.json then is the
// config file. --set, --seed and --out cannot go with it.
using ResumableCommand = void (*)(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
                                  const CommonOptions& options);
void add_resumable_command(CLI::App& app, const std::string& name, const std::string& help, ResumableCommand run);
template <HasFields C>
void add_resumable_command(CLI::App& app, const std::string& name, const std::string& help, ResumableCommand run) {
  register_config_schema(name, schema_of<C>);
  add_resumable_command(app, name, help, run);
}

// The file with --quick (its "quick" object merged over it, RFC 7386), --set and --seed applied, in this order; without
// "quick", and without "$schema", which is there for editors.
Config read_command_config(const std::string& file, const CommonOptions& options);

// The same for a command that takes a config of any command and reads only its `parts`: other keys must be some
// command's, and --set may change only what is read.
Config read_parts_of_config(const std::string& file, const CommonOptions& options,
                            const std::vector<std::string>& parts);

// That for --config, the option of commands that take files which may not say these parts; null where it is not given.
std::optional<Config> read_config_option(const std::optional<std::string>& file, const CommonOptions& options,
                                         const std::vector<std::string>& parts);

// The config as a run had it, every default and the folder of --data included: what `--resume` goes on with.
template <HasFields C>
Json resolved_config(const C& config, const CommonOptions& options) {
  Json resolved = write_config(config);
  if (options.data) resolved["data"]["dataset"]["dir"] = *options.data;
  return resolved;
}

// Refuses a folder with the results of another run, or with one that stopped: nothing is lost by a second command.
void check_unused(const std::filesystem::path& folder);

// stdout: the JSON document with --json, else the text.
void print_result(const CommonOptions& options, const Json& json, const std::string& text);

// One function per subcommand, each in its own file.
void add_train_command(CLI::App& app);
void add_evaluate_command(CLI::App& app);
void add_calibrate_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_search_command(CLI::App& app);
void add_compare_command(CLI::App& app);
void add_inspect_command(CLI::App& app);
void add_export_command(CLI::App& app);
void add_predict_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_schema_command(CLI::App& app);

}  // namespace qgrad
