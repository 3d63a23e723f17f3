// Classes by name: what a config's "class" key may say.
//
//   const Registered<Optimizer, Sgd, SgdConfig> sgd{"SGD", "gradient descent"};  // Sgd takes an SgdConfig
//   auto optimizer = Registry<Optimizer>::create(config);                        // {"class": "SGD", "lr": 0.1}
//   ClassConfig<Optimizer> optimizer;                              // a member of another config
//
// A registered object in a static library is dropped by the linker unless the library is linked whole; the build does.
#pragma once

#include <map>
#include <memory>

#include "core/config.h"

namespace qgrad {

// What a registry does whatever its classes derive from.
class ClassRegistry {
 public:
  struct Entry {
    void* (*create)(const Config&);  // a Base*, from the config without its "class" key
    const detail::ValueForm& (*config)();
    std::shared_ptr<void> (*defaults)();  // of the config
    const char* help;                     // what it is, in a line; may be empty
  };

  explicit ClassRegistry(const char* role) : role_(role) {}
  void add(const std::string& name, Entry entry);  // a name that stands twice is an error of the first find()
  const Entry& find(const Config& config) const;
  Json resolved(const Config& config) const;
  std::vector<std::string> names() const;
  std::string help(const std::string& name) const;  // of one of names()
  Json schema() const;                              // one of the registered classes, each with its own members

  static Config without_class(Config config);

 private:
  const char* role_;
  std::map<std::string, Entry> entries_;
  std::string duplicate_;
};

// Base::kRole is the word for error messages ("quantizer").
template <class Base>
class Registry : public ClassRegistry {
 public:
  static Registry& instance() {
    static Registry registry;
    return registry;
  }

  // Throws where "class" is missing or unknown (with the list), and whatever reading the config throws.
  static std::unique_ptr<Base> create(const Config& config) {
    void* made = instance().find(config).create(without_class(config));
    return std::unique_ptr<Base>(static_cast<Base*>(made));
  }
  // The config as the class understands it, a Json: {"class": NAME, every member}.
  static auto resolve(const Config& config) { return instance().resolved(config); }

 private:
  Registry() : ClassRegistry(Base::kRole) {}
};

// T is constructible from a ConfigStruct.
template <class Base, class T, HasFields ConfigStruct>
struct Registered {
  explicit Registered(const char* name, const char* help = "") {
    Registry<Base>::instance().add(name,
                                   {create, detail::form_of<ConfigStruct>,
                                    [] { return std::shared_ptr<void>(std::make_shared<ConfigStruct>()); }, help});
  }

 private:
  static void* create(const Config& from) {
    const auto config = read_config<ConfigStruct>(from);
    return placed_at(from, [&]() -> void* { return static_cast<Base*>(std::make_unique<T>(config).release()); });
  }
};

// A class of a registry by its config: checked when it is read, made when it is needed.
template <class Base>
struct ClassConfig : Config {
  using Config::Config;
  ClassConfig(Config config = {}) : Config(std::move(config)) {}
};
namespace detail {
void read_class(const ClassRegistry& registry, const Config& from, Config& value);
void write_class(const Config& value, Json& to);
}  // namespace detail
template <class Base>
void read_value(const Config& from, ClassConfig<Base>& value) {
  detail::read_class(Registry<Base>::instance(), from, value);
}
template <class Base>
void write_value(const ClassConfig<Base>& value, Json& to) {
  detail::write_class(value, to);
}
template <class Base>
void value_schema(const ClassConfig<Base>&, Json&) {}  // anything: the registry knows

}  // namespace qgrad
