// Subcommands, and what their failures look like.
#include "apps/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <thread>

#include "apps/command.h"
#include "apps/processes.h"
#include "apps/version.h"
#include "tasks/progress.h"
#include "tasks/stop_signals.h"

namespace qgrad {
namespace {

struct Command {
  std::string help;
  std::function<void(CLI::App& command)> add;
  std::string examples;
};
std::map<std::string, Command>& commands() {
  static std::map<std::string, Command> all;
  return all;
}

std::string indented(std::string lines) {
  for (size_t at = 0; (at = lines.find('\n', at)) != lines.npos; ++at) lines.insert(at + 1, "  ");
  return lines;
}

// Of every option and argument, those of subcommands too: neither "" nor slashes alone name a file or a folder.
void refuse_empty_values(CLI::App& app) {
  const auto says_something = [](const std::string& value) -> std::string {
    return value.find_first_not_of('/') == std::string::npos ? fmt::format("expected a value, got '{}'", value) : "";
  };
  for (CLI::Option* option : app.get_options())
    if (option->get_items_expected_max() > 0) option->check(CLI::Validator(says_something, ""));
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) refuse_empty_values(*command);
}

// What to say of the first word of the command line that is no command or option where one is expected, or "".
std::string unknown_word(const CLI::App& app) {
  const CLI::App* at = &app;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  const std::vector<std::string> rest = at->remaining();
  if (rest.empty()) return "";
  const std::string word = rest[0].substr(0, rest[0].find('='));
  std::vector<std::string> known;
  if (word[0] == '-') {
    for (const CLI::Option* option : at->get_options()) known.push_back(option->get_name());
    return fmt::format("unknown option '{}'{}; `qgrad {} --help` lists them", word, did_you_mean(word, known),
                       at == &app ? "" : at->get_name());
  }
  for (const CLI::App* command : at->get_subcommands([](const CLI::App*) { return true; }))
    known.push_back(command->get_name());
  std::erase(known, "");
  return known.empty()
             ? ""
             : fmt::format("unknown command '{}'{}; have: {}", word, did_you_mean(word, known), joined(known));
}

// So that a closed pipe, a full disk or a closed stream is an error of the one write, and no file that is opened later
// takes the place of a closed stream.
void prepare_streams() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  int descriptor;
  do descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  while (descriptor >= 0 && descriptor <= STDERR_FILENO);
  if (descriptor > STDERR_FILENO) ::close(descriptor);
}

const std::vector<std::string> kShared{"train", "compare", "sensitivity", "search"};

// Of several processes those behind the first give way: what is wrong for all is said once.
void complain(const char* what) {
  if (!is_first_process()) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    set_quiet(false);
  }
  note(fmt::format("{} {}", in_red("qgrad:"), what));
}

void check_stdout() {
  check(std::cout.flush() && std::fflush(stdout) == 0 && !std::ferror(stdout), "stdout: cannot write");
}

}  // namespace

Subcommand::Subcommand(const std::string& name, const std::string& help, std::function<void(CLI::App&)> add,
                       const std::string& examples) {
  check(commands().emplace(name, Command{help, std::move(add), examples}).second,
        "the command '{}' is registered twice", name);
}

void add_commands(CLI::App& app) {
  for (const auto& [name, command] : commands()) {
    CLI::App& added = *app.add_subcommand(name, command.help);
    command.add(added);
    if (!command.examples.empty()) added.footer("Examples:\n  " + indented(command.examples));
  }
  app.footer("`qgrad list quantizers` lists what configs can name, and `qgrad schema COMMAND` all settings.");
  refuse_empty_values(app);
}

int run_command(int argc, char** argv) {
  prepare_streams();
  CLI::App app{"train and quantize neural networks on a CPU, driven by JSON configs",
               argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "qgrad"};
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help for every subcommand");
  app.set_version_flag("--version", version_text, "version, commit, compiler, instruction set, threads");
  add_commands(app);
  try {
    join_processes();
    check(process_count() == 1 || argc < 2 || std::ranges::count(kShared, std::string(argv[1])) > 0,
          "`qgrad {}` does not share its work: run it without mpirun; what does: {}", argc < 2 ? "" : argv[1],
          fmt::join(kShared, ", "));
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      const std::string unknown = e.get_exit_code() == 0 ? "" : unknown_word(app);
      if (!unknown.empty()) note(fmt::format("{} {}", in_red("qgrad:"), unknown));
      if (!unknown.empty() || app.exit(e) != 0) return 2;
    }
    check_stdout();
    leave_processes();
    return 0;
  } catch (const Stopped& stopped) {
    note(fmt::format("qgrad: {}; go on with: qgrad {} --resume {}", stopped.what(),
                     app.get_subcommands().front()->get_name(), shell_word(stopped.folder())));
    stop_processes(stopped.exit_status());
    return stopped.exit_status();
  } catch (const std::exception& e) {
    complain(e.what());
    end_processes(1);
    return 1;
  }
}

}  // namespace qgrad
