// The parts of config reading that depend on no type.
#include "core/config.h"

#include <charconv>

namespace qgrad {

std::string Config::where() const {
  if (file.empty()) return path.empty() ? "config" : path;
  return path.empty() ? file : file + ": " + path;
}

std::string Config::where(std::string_view key) const {
  Config member{nullptr, file, path.empty() ? std::string(key) : fmt::format("{}.{}", path, key)};
  return member.where();
}

Config Config::at(std::string_view key) const {
  if (!has(key)) config_error(where(), "'{}' is missing", key);
  return {value.at(std::string(key)), file, path.empty() ? std::string(key) : fmt::format("{}.{}", path, key)};
}

Error Config::with_place(const Error& e) const {
  const std::string_view what = e.what();
  const bool names_file = !file.empty() && what.find(file) != std::string_view::npos;
  return names_file || what.starts_with(where()) ? e : Error(fmt::format("{}: {}", where(), what));
}

namespace detail {

void check_bounds(const Json& number, const Field& field, const std::string& where) {
  const double value = number.get<double>();
  const bool low = field.above_min ? value <= field.min : value < field.min;
  if (!low && value <= field.max) return;
  const double inf = std::numeric_limits<double>::infinity();
  const std::string got = number.is_number_float() ? fmt::format("{}", value) : describe(number);
  if (field.max == inf)
    config_error(where, "expected {} {}, got {}", field.above_min ? "more than" : "at least", field.min, got);
  if (field.min == -inf) config_error(where, "expected at most {}, got {}", field.max, got);
  config_error(where, "expected {} to {}{}, got {}", field.min, field.max, field.above_min ? " (exclusive below)" : "",
               got);
}

std::string describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = json_line(value);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return text;
}

}  // namespace detail

void ConfigReader::finish() const {
  for (const auto& [key, value] : config_.value.items())
    if (std::ranges::find(keys_, key) == keys_.end())
      config_error(config_.where(key), "unknown key{}", did_you_mean(key, keys_));
}

Json SchemaWriter::take() {
  Json schema = {{"type", "object"}, {"properties", std::move(properties_)}, {"additionalProperties", false}};
  if (!required_.empty()) schema["required"] = std::move(required_);
  return schema;
}

Json SchemaWriter::number(const char* type, const Field& field) {
  Json schema = {{"type", type}};
  const double inf = std::numeric_limits<double>::infinity();
  if (field.min != -inf) schema[field.above_min ? "exclusiveMinimum" : "minimum"] = field.min;
  if (field.max != inf) schema["maximum"] = field.max;
  return schema;
}

Json SchemaWriter::nullable(Json schema) {
  return {{"anyOf", Json::array({std::move(schema), Json{{"type", "null"}}})}};
}

constexpr size_t kMostKeys = 100;  // as deep as JSON may be nested

void set_config_value(Config& config, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  check(equals != std::string_view::npos && equals > 0, "--set {}: expected KEY=VALUE", assignment);
  const std::string name(assignment.substr(0, equals)), text(assignment.substr(equals + 1));
  Json value = text;
  if (Json::accept(text)) value = parse_json(text, fmt::format("--set {}", name));

  std::vector<std::string> keys;
  try {
    if (name[0] == '/') {
      for (Json::json_pointer pointer(name); !pointer.empty(); pointer.pop_back())
        keys.insert(keys.begin(), pointer.back());
    } else {
      size_t begin = 0;
      while (begin <= name.size()) {
        const size_t end = std::min(name.find_first_of(".[", begin), name.size());
        std::string key = name.substr(begin, end - begin);
        if (!key.empty() && key.back() == ']') key.pop_back();
        check(!key.empty(), "--set {}: an empty key", assignment);
        keys.push_back(std::move(key));
        begin = end + 1;
      }
    }
  } catch (const Json::parse_error&) {
    fail("--set {}: '{}' is not a JSON pointer", assignment, name);
  }
  check(keys.size() <= kMostKeys, "--set {:.40}...: {} keys, at most {} stand in one another", name, keys.size(),
        kMostKeys);
  Json* at = &config.value;
  for (const std::string& key : keys) {
    if (at->is_array()) {
      size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      check(error == std::errc() && end == key.data() + key.size() && index < at->size(),
            "--set {}: '{}' is no position in a list of {}", assignment, key, at->size());
      at = &(*at)[index];
    } else {
      check(at->is_object() || at->is_null(), "--set {}: '{}' would be a member of {}", assignment, key,
            detail::describe(*at));
      at = &(*at)[key];
    }
  }
  *at = std::move(value);
}

}  // namespace qgrad
