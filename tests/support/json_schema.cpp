// Keywords, one by one.
#include "support/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "core/error.h"

namespace qgrad::test {
namespace {

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "integer")
    return value.is_number_integer() || (value.is_number() && std::trunc(value.get<double>()) == value.get<double>());
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

bool is_of_a_type(const Json& value, const Json& types) {
  if (types.is_string()) return is_of_type(value, types.get<std::string>());
  return std::ranges::any_of(types, [&](const Json& type) { return is_of_type(value, type.get<std::string>()); });
}

bool holds_size(const Json& value, const auto& holds) { return !value.is_array() || holds(value.size()); }
bool holds_number(const Json& value, const auto& holds) { return !value.is_number() || holds(value.get<double>()); }

// Keywords that judge a value by itself.
const std::map<std::string, bool (*)(const Json& rule, const Json& value)> kRules = {
    {"type", [](const Json& rule, const Json& value) { return is_of_a_type(value, rule); }},
    {"enum", [](const Json& rule, const Json& value) { return std::ranges::count(rule, value) > 0; }},
    {"const", [](const Json& rule, const Json& value) { return rule == value; }},
    {"minimum",
     [](const Json& rule, const Json& value) {
       return holds_number(value, [&](double x) { return x >= rule.get<double>(); });
     }},
    {"maximum",
     [](const Json& rule, const Json& value) {
       return holds_number(value, [&](double x) { return x <= rule.get<double>(); });
     }},
    {"exclusiveMinimum",
     [](const Json& rule, const Json& value) {
       return holds_number(value, [&](double x) { return x > rule.get<double>(); });
     }},
    {"minItems",
     [](const Json& rule, const Json& value) {
       return holds_size(value, [&](size_t n) { return n >= rule.get<size_t>(); });
     }},
    {"maxItems",
     [](const Json& rule, const Json& value) {
       return holds_size(value, [&](size_t n) { return n <= rule.get<size_t>(); });
     }},
};

const std::set<std::string> kAnnotations{"$schema", "$defs", "title", "description", "default"};
const std::set<std::string> kSayOfMembers{"properties", "additionalProperties", "required"};

const Json kAnything = Json::object();
const Json kNothing = Json::array();

// A part of a schema, without a copy.
const Json& part(const Json& schema, const std::string& keyword, const Json& otherwise) {
  const auto found = schema.find(keyword);
  return found == schema.end() ? otherwise : *found;
}

std::string below(const std::string& at, const std::string& key) { return at.empty() ? key : at + "." + key; }

}  // namespace

std::string JsonSchema::violation(const Json& document) const { return violation(schema_, document, ""); }

const Json& JsonSchema::referred(const Json& schema) const {
  if (!schema.contains("$ref")) return schema;
  return schema_.at(Json::json_pointer(schema.at("$ref").get<std::string>().substr(1)));
}

std::string JsonSchema::violation(const Json& schema, const Json& value, const std::string& at) const {
  for (const auto& [keyword, rule] : schema.items())
    if (const std::string wrong = violation_of(keyword, schema, value, at); !wrong.empty()) return wrong;
  return members_violation(schema, value, at);
}

std::string JsonSchema::violation_of(const std::string& keyword, const Json& schema, const Json& value,
                                     const std::string& at) const {
  const Json& rule = schema.at(keyword);
  if (const auto found = kRules.find(keyword); found != kRules.end())
    return found->second(rule, value) ? "" : fmt::format("{}: not of {} {}", at, keyword, rule.dump());
  if (keyword == "$ref") return violation(referred(schema), value, at);
  if (keyword == "anyOf" || keyword == "oneOf") return choice_violation(rule, value, at, keyword == "oneOf");
  if (keyword == "items") {
    for (size_t i = 0; value.is_array() && i < value.size(); ++i)
      if (const std::string wrong = violation(rule, value[i], fmt::format("{}[{}]", at, i)); !wrong.empty())
        return wrong;
    return "";
  }
  check(kAnnotations.contains(keyword) || kSayOfMembers.contains(keyword), "a schema with the keyword '{}'", keyword);
  return "";
}

std::string JsonSchema::choice_violation(const Json& choices, const Json& value, const std::string& at,
                                         bool only_one) const {
  const auto fitting =
      std::ranges::count_if(choices, [&](const Json& choice) { return violation(choice, value, at).empty(); });
  if (fitting == 1 || (fitting > 1 && !only_one)) return "";
  return fmt::format("{}: fits {} of {} choices", at, fitting, choices.size());
}

std::string JsonSchema::members_violation(const Json& schema, const Json& value, const std::string& at) const {
  if (!value.is_object()) return "";
  for (const Json& key : part(schema, "required", kNothing))
    if (!value.contains(key.get<std::string>())) return fmt::format("{}: '{}' is missing", at, key.get<std::string>());
  const Json& properties = part(schema, "properties", kAnything);
  const Json& others = part(schema, "additionalProperties", kAnything);
  for (const auto& [key, member] : value.items()) {
    const std::string place = below(at, key);
    const Json& rule = part(properties, key, others);
    if (rule == false) return place + ": unknown key";
    if (const std::string wrong = violation(rule, member, place); !wrong.empty()) return wrong;
  }
  return "";
}

std::vector<std::string> JsonSchema::open_places(const Json& document) const {
  std::vector<std::string> open;
  find_open(schema_, document, "", open);
  return open;
}

void JsonSchema::find_open(const Json& given, const Json& value, const std::string& at,
                           std::vector<std::string>& open) const {
  const Json& schema = referred(given);
  for (const char* choices : {"anyOf", "oneOf"})
    for (const Json& choice : part(schema, choices, kNothing))
      if (violation(choice, value, at).empty()) return find_open(choice, value, at, open);
  const auto says = [&](const char* keyword) { return schema.contains(keyword); };
  if (!says("type") && !says("enum") && !says("const")) return open.push_back(at);
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i)
      find_open(part(schema, "items", kAnything), value[i], fmt::format("{}[{}]", at, i), open);
  if (!value.is_object()) return;
  const Json& properties = part(schema, "properties", kAnything);
  const Json& others = part(schema, "additionalProperties", kAnything);
  for (const auto& [key, member] : value.items())
    find_open(part(properties, key, others), member, below(at, key), open);
}

}  // namespace qgrad::test
