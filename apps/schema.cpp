// qgrad schema COMMAND: the JSON Schema of a command's config, from the same fields() lists that read it.
#include "apps/schema.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "data/dataset.h"
#include "data/movielens.h"
#include "nn/models/architecture.h"
#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "quant/quantizer.h"
#include "tasks/experiment.h"

namespace qgrad {
namespace {

std::map<std::string, ConfigKind>& kinds() {
  static std::map<std::string, ConfigKind> all;
  return all;
}

const ConfigKind& kind_of_config(const std::string& command) {
  const auto found = kinds().find(command);
  check(found != kinds().end(), "qgrad schema: '{}' takes no config{}", command,
        did_you_mean(command, commands_with_schema()));
  return found->second;
}

// Of images or of ratings.
Json dataset_schema() {
  Json schema = Registry<Dataset>::instance().schema();
  const Json of_ratings = Registry<RatingSource>::instance().schema();
  for (const Json& ratings : of_ratings.at("oneOf")) schema["oneOf"].push_back(ratings);
  return schema;
}

bool says_nothing(const Json& schema) {
  for (const char* key : {"type", "anyOf", "oneOf", "enum"})
    if (schema.contains(key)) return false;
  return true;
}

// Of what is merged over a config (RFC 7386): nothing has to be there, and null takes away what is.
Json changes_of(const Json& schema) {
  if (says_nothing(schema)) return {{"type", "object"}};  // a class, or a part of its settings
  Json changes = schema;
  for (const char* key : {"required", "default"}) changes.erase(key);
  if (changes.contains("anyOf"))
    for (Json& choice : changes["anyOf"]) choice = changes_of(choice);
  if (changes.contains("properties"))
    for (Json& member : changes["properties"]) member = {{"anyOf", {changes_of(member), {{"type", "null"}}}}};
  return changes;
}

// Parts of configs that fields() leaves for later, by their key.
const std::map<std::string, Json (*)()>& parts() {
  static const std::map<std::string, Json (*)()> all = {
      {"quantizer", [] { return Registry<Quantizer>::instance().schema(); }},
      {"model", [] { return Registry<Architecture>::instance().schema(); }},
      {"dataset", dataset_schema},
      {"optimizer", [] { return Registry<Optimizer>::instance().schema(); }},
      {"schedule", [] { return Registry<Schedule>::instance().schema(); }},
      {"quant_aware_train", schema_of<TrainConfig>},
      {"train", [] { return changes_of(schema_of<TrainConfig>()); }},  // of a row
  };
  return all;
}

// Lets properties named as a part refer to it; `used` collects the parts.
void refer_to_parts(Json& schema, std::map<std::string, Json>& used) {
  if (!schema.is_structured()) return;
  if (schema.is_object() && schema.contains("properties"))
    for (auto& [key, property] : schema["properties"].items()) {
      if (!parts().contains(key)) continue;
      Json* target = &property;
      if (property.contains("anyOf")) target = &property["anyOf"][0];  // or null
      if (!says_nothing(*target)) continue;
      (*target)["$ref"] = "#/$defs/" + key;
      if (used.contains(key)) continue;
      used[key] = nullptr;  // parts may hold one another
      Json part = parts().at(key)();
      refer_to_parts(part, used);
      used[key] = std::move(part);
    }
  for (auto& child : schema) refer_to_parts(child, used);
}

}  // namespace

void register_config(const std::string& command, ConfigKind kind) { kinds()[command] = kind; }

std::vector<std::string> commands_with_schema() {
  std::vector<std::string> names;
  for (const auto& [name, kind] : kinds()) names.push_back(name);
  return names;
}

std::vector<std::string> keys_of_configs() {
  std::vector<std::string> keys;
  for (const auto& [name, kind] : kinds()) {
    const Json schema = kind.schema();
    for (const auto& [key, property] : schema.at("properties").items()) keys.push_back(key);
  }
  return keys;
}

Json config_schema(const std::string& command) {
  Json schema = kind_of_config(command).schema();
  Json quick = changes_of(schema);
  quick["description"] = "what --quick merges over the config";
  schema["properties"]["$schema"] = {{"type", "string"}};
  schema["properties"]["quick"] = std::move(quick);
  std::map<std::string, Json> used;
  refer_to_parts(schema, used);
  Json whole = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "qgrad " + command}};
  whole.update(schema);
  whole["$defs"] = used;
  return whole;
}

Json resolve_config(const std::string& command, const Config& content, const CommonOptions& options) {
  return kind_of_config(command).resolve(content, options);
}

namespace {

const Subcommand schema_command{
    "schema", "JSON Schema of a command's config, for editors",
    [](CLI::App& command) {
      const auto name = std::make_shared<std::string>();
      command.add_option("COMMAND", *name, fmt::format("one of {}", fmt::join(commands_with_schema(), ", ")))
          ->required();
      command.callback([name] { fmt::print("{}", json_text(config_schema(*name))); });
    },
    "qgrad schema train >train.schema.json"};

}  // namespace

}  // namespace qgrad
