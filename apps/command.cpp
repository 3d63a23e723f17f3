// Options, configs and output of the subcommands.
#include "apps/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>

#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/threads.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

const std::set<std::string> kConfigOptions = {"--set", "--out", "--data", "--seed", "--quick"};

template <class T>
CLI::Validator number_in(const char* what, T low, T high) {
  const std::string range = fmt::format("{} to {}", low, high);
  const auto check_text = [=](const std::string& text) -> std::string {
    T value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_decimal = std::is_floating_point_v<T> || text == "0" || text[0] != '0';
    if (error == std::errc() && end == text.data() + text.size() && is_decimal && value >= low && value <= high)
      return "";
    return fmt::format("expected {} from {}, got '{}'", what, range, text);
  };
  return CLI::Validator(check_text, range);
}

}  // namespace

CLI::Validator whole_number(uint64_t low, uint64_t high) { return number_in("an integer", low, high); }
CLI::Validator number_between(double low, double high) { return number_in("a number", low, high); }

std::shared_ptr<CommonOptions> add_common_options(CLI::App& command, const std::set<std::string>& names) {
  auto options = std::make_shared<CommonOptions>();
  if (names.contains("--set"))
    command.add_option("--set", options->set, "set a config value: --set train.optimizer.lr=0.05")
        ->allow_extra_args(false);
  if (names.contains("--out")) command.add_option("--out", options->out, "folder for everything that is written");
  if (names.contains("--data")) command.add_option("--data", options->data, "folder of the data set");
  if (names.contains("--seed"))
    command.add_option("--seed", options->seed, "seed of all random streams")
        ->check(whole_number(0, std::numeric_limits<uint64_t>::max()));
  if (names.contains("--quick"))
    command.add_flag("--quick", options->quick, "with the config's \"quick\" settings: a shorter run of the same");
  if (names.contains("--epochs"))
    command.add_option("--epochs", options->epochs, "as --set train.epochs=N; with --resume, to train longer")
        ->check(whole_number(1, std::numeric_limits<int>::max()));
  if (names.contains("--keep"))
    command.add_option("--keep", options->keep, "as --set train.keep_epochs=N: checkpoints of the last N epochs stay")
        ->check(whole_number(0, std::numeric_limits<int>::max()));
  if (names.contains("--row"))
    command.add_option("--row", options->rows, "make no other rows than the float one and this; may be repeated")
        ->allow_extra_args(false);
  if (names.contains("--dry-run"))
    command.add_flag("--dry-run", options->dry_run,
                     "check all, say what would be done and which layer gets what, and end");
  command.add_option("--threads", options->threads, "number of threads; the results do not depend on it")
      ->check(whole_number(1, 256));
  command.add_flag("--json", options->json, "print one JSON document on stdout");
  command.parse_complete_callback([options] {
    kernels();  // an instruction set that is none is an error at once
    if (options->threads) set_num_threads(*options->threads);
    const int wanted = num_threads(), started = start_pool();
    if (started < wanted) note(fmt::format("threads: {} of {}, the system gives no more", started, wanted));
  });
  return options;
}

namespace {

std::shared_ptr<CommonOptions> add_config_options(CLI::App& command, std::set<std::string> also) {
  also.insert(kConfigOptions.begin(), kConfigOptions.end());
  return add_common_options(command, also);
}

}  // namespace

void take_config(CLI::App& command, ConfigCommand run, const std::set<std::string>& also) {
  const auto options = add_config_options(command, also);
  const auto file = std::make_shared<std::string>();
  command.add_option("CONFIG", *file, "JSON config")->required();
  command.callback([=] { run(*file, *options); });
}

void take_config_or_resume(CLI::App& command, ResumableCommand run, const std::set<std::string>& also) {
  const auto options = add_config_options(command, also);
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

ConfigForms config_forms(const Config& content, const CommonOptions& options) {
  if (!content.json().is_object()) return {content, std::nullopt};  // an error where it is read
  Config plain = content;
  plain.json().erase("$schema");
  plain.json().erase("quick");
  std::optional<Config> quick;
  if (options.quick || content.has("quick")) {
    const Config changes = content.at("quick");
    changes.expect_object(" to merge over the config");
    quick = plain;
    merge_over(quick->json(), changes);
    quick->file += " with \"quick\"";
  }
  for (Config* form : {&plain, quick ? &*quick : nullptr}) {
    if (!form) continue;
    for (const std::string& assignment : options.set) set_config_value(*form, assignment);
    if (options.seed) form->json()["seed"] = *options.seed;
    if (options.epochs) set_config_value(*form, fmt::format("train.epochs={}", *options.epochs));
    if (options.keep) set_config_value(*form, fmt::format("train.keep_epochs={}", *options.keep));
  }
  if (options.quick) return {*quick, plain};
  return {plain, quick};
}

Config read_command_config(const std::string& file, const CommonOptions& options) {
  return config_forms(Config::read(file), options).used;
}

Config read_parts_of_config(const std::string& file, const CommonOptions& options,
                            const std::vector<std::string>& parts) {
  for (const std::string& assignment : options.set) {
    const std::string key = assignment.substr(0, assignment.find_first_of(".[="));
    check(std::ranges::find(parts, key) != parts.end(), "--set {}: only {} of a config are read here{}", assignment,
          fmt::join(parts, ", "), did_you_mean(key, parts));
  }
  Config config = read_command_config(file, options);
  config.expect_object();
  const std::vector<std::string> known = keys_of_configs();
  for (const auto& [key, value] : config.json().items())
    if (std::ranges::find(known, key) == known.end())
      config_error(config.where(), "no command's config has a key '{}'{}", key, did_you_mean(key, known));
  return config;
}

std::optional<Config> read_config_option(const std::optional<std::string>& file, const CommonOptions& options,
                                         const std::vector<std::string>& parts) {
  check(file || options.set.empty(), "--set changes a config file: give one with --config");
  return file ? std::optional(read_parts_of_config(*file, options, parts)) : std::nullopt;
}

void check_unused(const std::filesystem::path& folder) {
  for (const char* file : {"results.json", "training.safetensors"})
    check(!std::filesystem::exists(folder / file),
          "{} is there already: go on with --resume {}, choose another folder with --out, or delete this one",
          (folder / file).string(), folder.string());
}

void check_can_write(const std::filesystem::path& file) {
  namespace fs = std::filesystem;
  std::error_code ignored;  // what can not be looked at shows as not there
  check(!fs::is_directory(file, ignored), "{}: is a folder, expected a file to write", file.string());
  fs::path folder = fs::absolute(file).parent_path();
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  check(fs::is_directory(folder, ignored), "{}: can not be written: {} is no folder", file.string(), folder.string());
  const bool may_write = ::access(folder.c_str(), W_OK | X_OK) == 0;
  check(may_write, "{}: can not be written: {}: {}", file.string(), folder.string(), std::strerror(errno));
}

std::string shell_word(const std::string& text) {
  if (text.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+.,:=/@%") ==
      std::string::npos)
    return text;
  return shell_quoted(text);
}

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void print_result(const CommonOptions& options, const Json& json, const std::string& text) {
  fmt::print("{}", options.json ? json_text(json) : text);
}

}  // namespace qgrad
