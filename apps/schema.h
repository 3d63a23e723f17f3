// JSON Schemas of the commands' configs, for editors and other checkers.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace qgrad {

struct CommonOptions;

// What describes a command's config, and what reads it: a file's content in, every member out.
struct ConfigKind {
  Json (*schema)();
  Json (*resolve)(const Config& content, const CommonOptions& options);
};
void register_config(const std::string& command, ConfigKind kind);

std::vector<std::string> commands_with_schema();
std::vector<std::string> keys_of_configs();  // that some command's config has

// JSON Schema (draft 2020-12) of a command's config, with every registered class and its settings under "$defs".
// Throws for a command that takes no config.
Json config_schema(const std::string& command);
// A config file as the command understands it. Throws what the command would throw for the config alone.
Json resolve_config(const std::string& command, const Config& content, const CommonOptions& options);

}  // namespace qgrad
