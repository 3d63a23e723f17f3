// The commands and options of the command line as data, for whatever is made of them.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace qgrad {

struct OptionEntry {
  std::string name;  // "--out", or "CONFIG" of an argument
  std::string help;
  bool is_argument = false, takes_value = false;
};
struct CommandEntry {
  std::string name, help, examples;
  std::vector<OptionEntry> options;
  std::vector<CommandEntry> commands;
};
CommandEntry command_tree(CLI::App& app);

std::string bash_completion(const CommandEntry& root);
std::string zsh_completion(const CommandEntry& root);
std::string fish_completion(const CommandEntry& root);
std::string man_page(const CommandEntry& root);

}  // namespace qgrad
