// qgrad help COMMAND, qgrad completion SHELL, qgrad man: what the command line says about itself.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "apps/command.h"
#include "apps/command_tree.h"

namespace qgrad {
namespace {

void print_help(CLI::App& root, const std::string& command) {
  if (command.empty()) return fmt::print("{}", root.help());
  std::vector<std::string> known;
  for (const CLI::App* sub : root.get_subcommands([](const CLI::App*) { return true; }))
    known.push_back(sub->get_name());
  if (std::ranges::find(known, command) == known.end())
    throw CLI::ValidationError(
        fmt::format("no command '{}'{}; have: {}", command, did_you_mean(command, known), joined(known)));
  fmt::print("{}", root.get_subcommand(command)->help(root.get_name()));
}

const Subcommand help_command{"help", "the help of a command",
                              [](CLI::App& command) {
                                const auto name = std::make_shared<std::string>();
                                command.add_option("COMMAND", *name, "one of qgrad's");
                                command.callback([name, &command] { print_help(*command.get_parent(), *name); });
                              },
                              "qgrad help train"};

const std::map<std::string, std::string (*)(const CommandEntry&)> kShells = {
    {"bash", bash_completion}, {"fish", fish_completion}, {"zsh", zsh_completion}};

const Subcommand completion_command{
    "completion", "completes commands and options in a shell",
    [](CLI::App& command) {
      const auto shell = std::make_shared<std::string>();
      command.add_option("SHELL", *shell, "bash, zsh or fish")
          ->required()
          ->check(CLI::IsMember({"bash", "zsh", "fish"}));
      command.callback(
          [shell, &command] { fmt::print("{}", kShells.at(*shell)(command_tree(*command.get_parent()))); });
    },
    "source <(qgrad completion bash)    # in ~/.bashrc, or zsh in ~/.zshrc\nqgrad completion fish | source"};

const Subcommand man_command_{
    "man", "the manual, for man",
    [](CLI::App& command) {
      command.callback([&command] { fmt::print("{}", man_page(command_tree(*command.get_parent()))); });
    },
    "qgrad man >qgrad.1 && man ./qgrad.1"};

}  // namespace
}  // namespace qgrad
