// A config file, read and resolved as each command does it. What a command made of it, it takes again as it is.
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) {
  const Config content{parse_json(bytes, "config.json"), "config.json"};
  for (const std::string& command : commands_with_schema()) {
    Json resolved;
    try {
      resolved = resolve_config(command, content, {});
    } catch (const Error&) {
      continue;
    }
    const Json again = resolve_config(command, Config{resolved, "resolved.json"}, {});
    if (again == resolved) continue;
    std::fprintf(stderr, "%s\nis not\n%s\n", json_text(again).c_str(), json_text(resolved).c_str());
    std::abort();
  }
}

}  // namespace qgrad::fuzz
