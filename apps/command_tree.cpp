// Completions for three shells, and the manual.
#include "apps/command_tree.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "apps/command.h"

namespace qgrad {
namespace {

void add_options(CLI::App& app, std::vector<OptionEntry>& options) {
  for (const CLI::Option* option : app.get_options())
    options.push_back({.name = option->get_name(),
                       .help = option->get_description(),
                       .is_argument = option->get_positional(),
                       .takes_value = option->get_items_expected_max() > 0});
  for (CLI::App* group : app.get_subcommands([](CLI::App* sub) { return sub->get_name().empty(); }))
    add_options(*group, options);
}

std::string with_each(std::string text, const std::string& characters, const std::string& before) {
  for (size_t at = 0; (at = text.find_first_of(characters, at)) != text.npos; at += before.size() + 1)
    text.insert(at, before);
  return text;
}

// Of all options of a command and of those below it, once each, and the names of the latter.
std::vector<std::string> words_of(const CommandEntry& command) {
  std::set<std::string> words;
  for (const OptionEntry& option : command.options)
    if (!option.is_argument) words.insert(option.name);
  for (const CommandEntry& below : command.commands) {
    words.insert(below.name);
    words.merge([&] {
      const std::vector<std::string> theirs = words_of(below);
      return std::set<std::string>(theirs.begin(), theirs.end());
    }());
  }
  return {words.begin(), words.end()};
}

std::vector<std::string> names_of(const std::vector<CommandEntry>& commands) {
  std::vector<std::string> names;
  for (const CommandEntry& command : commands) names.push_back(command.name);
  return names;
}

// Text of a manual: nothing in it is a command of troff.
std::string roff(const std::string& text) {
  std::string lines = with_each(text, "\\", "\\");
  lines = with_each(lines, "-", "\\");
  std::string result;
  for (size_t at = 0; at < lines.size();) {
    const size_t end = std::min(lines.find('\n', at), lines.size());
    if (lines[at] == '.' || lines[at] == '\'') result += "\\&";
    result += lines.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return result;
}

std::string man_options(const std::vector<OptionEntry>& options) {
  std::string text;
  for (const OptionEntry& option : options)
    text += fmt::format(".TP\n\\fB{}\\fR{}\n{}", roff(option.name).substr(0, roff(option.name).size() - 1),
                        option.takes_value && !option.is_argument ? " \\fIVALUE\\fR" : "", roff(option.help));
  return text;
}

std::string man_command(const CommandEntry& command, const std::string& before) {
  const std::string name = before + " " + command.name;
  std::string text = ".SS " + name + "\n" + roff(command.help) + man_options(command.options);
  if (!command.examples.empty()) text += ".PP\n.nf\n" + roff(command.examples) + ".fi\n";
  for (const CommandEntry& below : command.commands) text += man_command(below, name);
  return text;
}

}  // namespace

CommandEntry command_tree(CLI::App& app) {
  CommandEntry entry{.name = app.get_name(), .help = app.get_description(), .examples = app.get_footer()};
  add_options(app, entry.options);
  for (CLI::App* command : app.get_subcommands([](CLI::App* sub) { return !sub->get_name().empty(); }))
    entry.commands.push_back(command_tree(*command));
  return entry;
}

std::string bash_completion(const CommandEntry& root) {
  std::string text = fmt::format(
      "# source <(qgrad completion bash)\n"
      "_qgrad() {{\n"
      "  local current=${{COMP_WORDS[COMP_CWORD]}} words=\n"
      "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '{} {}' -- \"$current\")\n"
      "    return\n"
      "  fi\n"
      "  case ${{COMP_WORDS[1]}} in\n",
      fmt::join(names_of(root.commands), " "), "--help --version");
  for (const CommandEntry& command : root.commands)
    text += fmt::format("    {}) words='{}' ;;\n", command.name, fmt::join(words_of(command), " "));
  return text +
         "  esac\n"
         "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\"; [[ $current == -* ]] || compgen -f -- "
         "\"$current\")\n"
         "}\n"
         "complete -o filenames -F _qgrad qgrad\n";
}

std::string zsh_completion(const CommandEntry& root) {
  std::string text =
      "#compdef qgrad\n# source <(qgrad completion zsh)\n_qgrad() {\n  local -a commands\n  commands=(\n";
  for (const CommandEntry& command : root.commands)
    text += fmt::format("    {}\n", shell_quoted(command.name + ":" + with_each(command.help, ":", "\\")));
  text += "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case $words[2] in\n";
  for (const CommandEntry& command : root.commands) {
    text += fmt::format("    {}) _arguments", command.name);
    for (const OptionEntry& option : command.options)
      if (!option.is_argument)
        text += " " + shell_quoted(fmt::format("{}[{}]{}", option.name, with_each(option.help, "[]:", "\\"),
                                               option.takes_value ? ":value:_files" : ""));
    text += " '*:file:_files' ;;\n";
  }
  return text + "  esac\n}\nif [ \"$funcstack[1]\" = _qgrad ]; then _qgrad \"$@\"; else compdef _qgrad qgrad; fi\n";
}

std::string fish_completion(const CommandEntry& root) {
  std::string text = "# qgrad completion fish | source\n";
  for (const CommandEntry& command : root.commands) {
    text += fmt::format("complete -c qgrad -n __fish_use_subcommand -f -a {} -d {}\n", command.name,
                        shell_quoted(command.help));
    for (const OptionEntry& option : command.options)
      if (option.name.starts_with("--"))
        text += fmt::format("complete -c qgrad -n '__fish_seen_subcommand_from {}' -l {}{} -d {}\n", command.name,
                            option.name.substr(2), option.takes_value ? " -r" : "", shell_quoted(option.help));
  }
  return text;
}

std::string man_page(const CommandEntry& root) {
  std::string text = ".TH QGRAD 1\n.SH NAME\nqgrad \\- " + roff(root.help) +
                     ".SH SYNOPSIS\n.B qgrad\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n.SH COMMANDS\n";
  for (const CommandEntry& command : root.commands) text += man_command(command, "qgrad");
  return text + ".SH EXIT STATUS\n" +
         roff(
             "0: done. 1: failed, with the reason on stderr. 2: wrong usage. 130 and 143: stopped by SIGINT and "
             "SIGTERM, "
             "with all that is needed to go on.");
}

}  // namespace qgrad
