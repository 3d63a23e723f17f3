// Classes by name: what a config's "class" key may say.
//
//   const Registered<Optimizer, Sgd, SgdConfig> sgd{"SGD"};        // in sgd.cpp; Sgd is constructed from an SgdConfig
//   auto optimizer = Registry<Optimizer>::create(config);          // {"class": "SGD", "lr": 0.1}
//   ClassConfig<Optimizer> optimizer;                              // a member of another config
//
// A registered object in a static library is dropped by the linker unless the library is linked whole; the build does.
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "core/config.h"

namespace qgrad {

template <class Base>
class Registry {
 public:
  struct Entry {
    std::function<std::unique_ptr<Base>(const Config&)> create;  // the config without its "class" key
    std::function<Json()> schema;
    std::function<Json(const Config&)> resolve;  // every member of the config, defaults included
  };

  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  // Throws where "class" is missing or unknown (with the list), and whatever reading the config throws.
  static std::unique_ptr<Base> create(const Config& config) { return find(config).create(without_class(config)); }

  // The config as the class understands it: {"class": NAME, every member}.
  static Json resolve(const Config& config) {
    const Entry& entry = find(config);
    Json resolved = {{"class", config.value.at("class")}};
    resolved.update(entry.resolve(without_class(config)));
    return resolved;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : entries_) names.push_back(name);
    return names;
  }

  // One of the registered classes, each with its own members.
  Json schema() const {
    Json any = Json::array();
    for (const auto& [name, entry] : entries_) {
      Json schema = entry.schema();
      Json properties = {{"class", {{"const", name}}}};
      properties.update(schema.at("properties"));
      schema["properties"] = std::move(properties);
      schema["required"].push_back("class");
      any.push_back(std::move(schema));
    }
    return {{"oneOf", std::move(any)}};
  }

  void add(const std::string& name, Entry entry) {
    if (!entries_.emplace(name, std::move(entry)).second)
      duplicate_ = name;  // thrown by the first create(): we are before main
  }

 private:
  static const Entry& find(const Config& config) {
    const Registry& registry = instance();
    check(registry.duplicate_.empty(), "'{}' is registered twice", registry.duplicate_);
    if (!config.value.is_object())
      config_error(config.where(), "expected an object, got {}", detail::describe(config.value));
    const Config name = config.at("class");
    if (!name.value.is_string()) config_error(name.where(), "expected a string, got {}", detail::describe(name.value));
    const auto it = registry.entries_.find(name.value.get<std::string>());
    if (it == registry.entries_.end()) {
      const std::vector<std::string> names = registry.names();
      config_error(name.where(), "no {} '{}'{}; have: {}", Base::kRole, name.value.get<std::string>(),
                   did_you_mean(name.value.get<std::string>(), names), joined(names));
    }
    return it->second;
  }

  static Config without_class(Config config) {
    config.value.erase("class");
    return config;
  }

  std::map<std::string, Entry> entries_;
  std::string duplicate_;
};

// Base::kRole is the word for error messages ("quantizer"). T is constructible from a ConfigStruct.
template <class Base, class T, HasFields ConfigStruct>
struct Registered {
  explicit Registered(const char* name) {
    Registry<Base>::instance().add(name, {[](const Config& c) -> std::unique_ptr<Base> {
                                            auto config = read_config<ConfigStruct>(c);
                                            return placed_at(c, [&] { return std::make_unique<T>(config); });
                                          },
                                          [] { return schema_of<ConfigStruct>(); },
                                          [](const Config& c) { return write_config(read_config<ConfigStruct>(c)); }});
  }
};

// A class of a registry by its config: checked when it is read, made when it is needed.
template <class Base>
struct ClassConfig : Config {
  ClassConfig() = default;
  ClassConfig(Config config) : Config(std::move(config)) {}
  ClassConfig(Json json, std::string in_file, std::string json_path)
      : Config{std::move(json), std::move(in_file), std::move(json_path)} {}
};
template <class Base>
void read_value(const Config& from, ClassConfig<Base>& value) {
  Registry<Base>::resolve(from);
  value = from;
}
template <class Base>
Json write_value(const ClassConfig<Base>& value) {
  return value.value;
}
template <class Base>
Json value_schema(ClassConfig<Base>*) {
  return Json::object();
}

}  // namespace qgrad
