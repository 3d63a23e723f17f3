// JSON Schemas of the commands' configs, for editors and other checkers.
#pragma once

#include <string>
#include <vector>

#include "core/json.h"

namespace qgrad {

// What describes a command's config; called when it is asked for.
using MakeSchema = Json (*)();
void register_config_schema(const std::string& command, MakeSchema make);

std::vector<std::string> commands_with_schema();
std::vector<std::string> keys_of_configs();  // that some command's config has

// JSON Schema (draft 2020-12) of a command's config, with every registered class and its settings under "$defs".
// Throws for a command that takes no config.
Json config_schema(const std::string& command);

}  // namespace qgrad
