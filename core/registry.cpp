// Names, and the configs of what they stand for.
#include "core/registry.h"

#include <nlohmann/json.hpp>

namespace qgrad {

void ClassRegistry::add(const std::string& name, Entry entry) {
  if (!entries_.emplace(name, entry).second) duplicate_ = name;  // thrown by the first find(): we are before main
}

const ClassRegistry::Entry& ClassRegistry::find(const Config& config) const {
  check(duplicate_.empty(), "'{}' is registered twice", duplicate_);
  config.expect_object();
  const Config name = config.at("class");
  if (!name.json().is_string()) config_error(name.where(), "expected a string, got {}", detail::describe(name.json()));
  const auto word = name.json().get<std::string>();
  const auto it = entries_.find(word);
  if (it == entries_.end()) {
    const std::vector<std::string> have = names();
    config_error(name.where(), "no {} '{}'{}; have: {}", role_, word, did_you_mean(word, have), joined(have));
  }
  return it->second;
}

Json ClassRegistry::resolved(const Config& config) const {
  const Entry& entry = find(config);
  const std::shared_ptr<void> value = entry.defaults();
  entry.config().read(without_class(config), value.get(), {});
  Json resolved = {{"class", config.json().at("class")}};
  resolved.update(detail::written(entry.config(), value.get()));
  return resolved;
}

std::vector<std::string> ClassRegistry::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

std::string ClassRegistry::help(const std::string& name) const { return entries_.at(name).help; }

Json ClassRegistry::schema() const {
  Json any = Json::array();
  for (const auto& [name, entry] : entries_) {
    Json schema = detail::schema_of(entry.config(), entry.defaults().get());
    Json properties = {{"class", {{"const", name}}}};
    if (*entry.help) properties["class"]["description"] = entry.help;
    properties.update(schema.at("properties"));
    schema["properties"] = std::move(properties);
    schema["required"].push_back("class");
    any.push_back(std::move(schema));
  }
  return {{"oneOf", std::move(any)}};
}

Config ClassRegistry::without_class(Config config) {
  config.json().erase("class");
  return config;
}

namespace detail {
void read_class(const ClassRegistry& registry, const Config& from, Config& value) {
  registry.resolved(from);
  value = from;
}
void write_class(const Config& value, Json& to) { to = value.json(); }
}  // namespace detail

}  // namespace qgrad
