// Per-layer settings: which entry of a config's "overrides" applies to a module.
#pragma once

#include <array>
#include <regex>
#include <string>
#include <vector>

#include "core/config.h"
#include "quant/settings.h"

namespace qgrad {

inline constexpr std::array<const char*, 3> kBitsKeys{"bits_activations", "bits_weights", "bits_bias"};
bool is_bits_key(std::string_view key);
// The defaults where a key is absent; null and numbers replace them. Throws on other values.
Bits read_bits(const Config& settings, Bits defaults);

struct Override {
  std::string pattern;
  Config settings;
  std::regex expression;
  bool matches(const std::string& path) const;  // the key itself, or the expression on the whole path
};

// Entries in the order of the config. Throws on keys that are no regular expression (ECMAScript), entries that are no
// object, and wrong bits, naming file and JSON path.
std::vector<Override> read_overrides(const Config& overrides);

// The entry whose key equals the path, else the first whose expression matches it, else null.
const Override* find_override(const std::vector<Override>& overrides, const std::string& path);

}  // namespace qgrad
