// Reading overrides and matching them with paths.
#include "quant/overrides.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "quant/path_pattern.h"
#include "quant/quantizer.h"

namespace qgrad {

bool is_bits_key(std::string_view key) { return std::ranges::find(kBitsKeys, key) != kBitsKeys.end(); }

Bits read_bits(const Config& settings, Bits bits) {
  const std::array targets{&bits.activations, &bits.weights, &bits.bias};
  for (size_t i = 0; i < targets.size(); ++i)
    if (settings.has(kBitsKeys[i])) read_onto(*targets[i], settings.at(kBitsKeys[i]), {.min = 1, .max = 32});
  return bits;
}

bool Override::matches(const std::string& path) const {
  try {
    return pattern == path || std::regex_match(path, expression);
  } catch (const std::regex_error& e) {
    config_error(settings.where(), "matching this regular expression with '{}' is too complex: {}", path, e.what());
  }
}

std::vector<Override> read_overrides(const Config& overrides) {
  overrides.expect_object();
  std::vector<Override> entries;
  for (const auto& item : overrides.json().items()) {
    Config settings = overrides.at(item.key());
    settings.expect_object(" of settings");
    read_bits(settings, {});
    entries.push_back({item.key(), std::move(settings), path_pattern(overrides.where(item.key()), item.key())});
  }
  return entries;
}

const Override* find_override(const std::vector<Override>& overrides, const std::string& path) {
  auto found = std::ranges::find(overrides, path, &Override::pattern);
  if (found == overrides.end())
    found = std::ranges::find_if(overrides, [&](const Override& entry) { return entry.matches(path); });
  return found == overrides.end() ? nullptr : &*found;
}

void read_value(const Config& from, OverridesConfig& value) {
  read_overrides(from);
  value = from;
}
void write_value(const OverridesConfig& value, Json& to) { to = value.json(); }
void value_schema(const OverridesConfig&, Json& to) {
  to = {{"type", "object"}, {"additionalProperties", {{"type", "object"}}}};
  Json& settings = to["additionalProperties"]["properties"];
  for (const char* key : kBitsKeys) settings[key] = {{"type", {"integer", "null"}}, {"minimum", 1}, {"maximum", 32}};
}

}  // namespace qgrad
