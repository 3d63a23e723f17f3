// What the subcommands share: common options, reading configs, and output.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "apps/schema.h"
#include "core/config.h"
#include "tasks/experiment.h"
#include "tasks/task.h"

namespace qgrad {

struct CommonOptions {
  std::vector<std::string> set;     // --set key=value, in order
  std::optional<std::string> out;   // --out DIR
  std::optional<std::string> data;  // --data DIR
  std::optional<uint64_t> seed;     // --seed N
  std::optional<int> epochs, keep;  // --epochs N, --keep N
  std::optional<int> threads;       // --threads N
  bool quick = false;               // --quick: with the config's "quick" settings
  bool json = false;                // --json: stdout is one JSON document
  bool dry_run = false;             // --dry-run: say what would be done
  std::vector<std::string> rows;    // --row: of a comparison; none: all
};

// A validator: decimal digits, for a number from low to high.
CLI::Validator whole_number(uint64_t low, uint64_t high);
CLI::Validator number_between(double low, double high);

// Adds --threads, --json, and those of the options above that are named, to a subcommand.
std::shared_ptr<CommonOptions> add_common_options(CLI::App& command, const std::set<std::string>& names);

template <HasFields C>
ConfigKind config_kind();

// A subcommand of qgrad, declared at namespace scope in its own file, which may be a user's: the command line, the help
// and `qgrad schema` then have it. add() gives the command its options and its callback.
class Subcommand {
 public:
  // `examples`: command lines, for the end of its help.
  Subcommand(const std::string& name, const std::string& help, std::function<void(CLI::App& command)> add,
             const std::string& examples = "");
};

// Whose only argument is a config file with the schema of C. `also`: common options beside those of configs.
using ConfigCommand = void (*)(const std::string& config_file, const CommonOptions& options);
void take_config(CLI::App& command, ConfigCommand run, const std::set<std::string>& also = {});
template <HasFields C>
Subcommand config_command(const std::string& name, const std::string& help, ConfigCommand run,
                          const std::string& examples = "", const std::set<std::string>& also = {}) {
  register_config(name, config_kind<C>());
  return Subcommand(
      name, help, [=](CLI::App& command) { take_config(command, run, also); }, examples);
}

// With a config file, or --resume DIR: the folder of a run that stopped, whose config.json then is the config file.
// --set, --seed and --out cannot go with it.
using ResumableCommand = void (*)(const std::string& config_file, const std::optional<std::filesystem::path>& resume,
                                  const CommonOptions& options);
void take_config_or_resume(CLI::App& command, ResumableCommand run, const std::set<std::string>& also = {});
template <HasFields C>
Subcommand resumable_command(const std::string& name, const std::string& help, ResumableCommand run,
                             const std::string& examples = "", const std::set<std::string>& also = {}) {
  register_config(name, config_kind<C>());
  return Subcommand(
      name, help, [=](CLI::App& command) { take_config_or_resume(command, run, also); }, examples);
}

// A config file with --quick (its "quick" object merged over it, RFC 7386), --set and --seed applied, in this order;
// without "quick", and without "$schema", which is there for editors.
Config read_command_config(const std::string& file, const CommonOptions& options);

// The same of a file's content, and where it has "quick" settings the other form, with them or without: what is wrong
// with either is an error of both.
struct ConfigForms {
  Config used;
  std::optional<Config> other;
};
ConfigForms config_forms(const Config& content, const CommonOptions& options);

template <HasFields C>
C checked_config(const Config& from) {
  auto config = read_config<C>(from);
  complete_model(config, from);
  check_config(config, from);
  return config;
}
template <HasFields C>
C read_command_config(const Config& content, const CommonOptions& options) {
  const ConfigForms forms = config_forms(content, options);
  if (forms.other) checked_config<C>(*forms.other);
  return checked_config<C>(forms.used);
}
template <HasFields C>
C read_command_config(const std::string& file, const CommonOptions& options) {
  return read_command_config<C>(Config::read(file), options);
}

template <HasFields C>
ConfigKind config_kind() {
  return {schema_of<C>, [](const Config& content, const CommonOptions& options) {
            return write_config(read_command_config<C>(content, options));
          }};
}

// read_command_config for a command that takes a config of any command and reads only its `parts`: other keys must be
// some command's, and --set may change only what is read.
Config read_parts_of_config(const std::string& file, const CommonOptions& options,
                            const std::vector<std::string>& parts);

// That for --config, the option of commands that take files which may not say these parts; null where it is not given.
std::optional<Config> read_config_option(const std::optional<std::string>& file, const CommonOptions& options,
                                         const std::vector<std::string>& parts);

// The config as a run had it, with every default, the folder of the data and the normalisation: what `--resume` goes on
// with.
template <HasFields C>
Json resolved_config(const C& config, const Task& task) {
  Json resolved = write_config(config);
  resolved["data"] = task.data();
  return resolved;
}

// Refuses a folder with the results of another run, or with one that stopped: nothing is lost by a second command.
void check_unused(const std::filesystem::path& folder);

// Throws where write_file_atomically could not write this file, as far as that is known beforehand: results of hours
// should have a place to go.
void check_can_write(const std::filesystem::path& file);

// As a shell takes it for one word.
std::string shell_word(const std::string& text);
std::string shell_quoted(const std::string& text);  // as one, in quotes in any case

// stdout: the JSON document with --json, else the text.
void print_result(const CommonOptions& options, const Json& json, const std::string& text);

// All subcommands, in the order of their names. Options that take a value take none that is empty.
void add_commands(CLI::App& app);

}  // namespace qgrad
