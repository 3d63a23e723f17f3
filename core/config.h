// Typed configs from JSON. One fields() function per struct lists its members: it reads them, writes them resolved,
// checks the keys and makes the schema.
//
//   struct SgdConfig { float lr = 0.1f; std::optional<float> clip; };
//   void fields(Fields& v, SgdConfig& c) {
//     v("lr", c.lr, {.help = "learning rate", .min = 0});
//     v("clip", c.clip, {.help = "largest gradient norm; null: none", .min = 0});
//   }
//   SgdConfig c = read_config<SgdConfig>(Config{json, "train.json", "optimizer"});
//
// Values: bool, integers, float, double, std::string, enums with an enum_names() overload, std::optional (null is
// nullopt; optional<optional<T>> also tells absent from null), std::vector, nested structs with fields(), types with
// read_value(), write_value() and value_schema() overloads, and Config itself for parts that are read later (a
// registered class, say). A derived struct lists its base's fields by calling fields(v, static_cast<Base&>(c)).
//
// This header knows that there is JSON, not what it is: whoever looks into a Json includes <nlohmann/json.hpp>.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace qgrad {

// A JSON value and where it stands, so that every complaint can say so.
struct Config {
  Config();  // null
  Config(Json json, std::string file = "", std::string path = "");
  Config(const Config&);
  Config(Config&&) noexcept;
  Config& operator=(Config) noexcept;
  ~Config();
  static Config read(const std::filesystem::path& file);
  static Config parse(std::string_view json, std::string path);  // neither of a file
  static Config object(std::string path) { return parse("{}", std::move(path)); }

  Json& json() { return *json_; }
  const Json& json() const { return *json_; }
  std::string file;  // "" when the value did not come from a file
  std::string path;  // "quantizer.overrides.conv1"; "" for the whole file

  std::string where() const;                      // "train.json: optimizer.lr"
  std::string where(std::string_view key) const;  // of a member
  Config at(std::string_view key) const;          // a member; throws where absent
  bool has(std::string_view key) const;
  bool is_null() const;
  Config place() const;                                // the same place, without the value
  Config member(std::string_view key) const;           // the place of a member, without a value
  void expect_object(std::string_view of = "") const;  // throws unless it is one; `of`: " of settings", say
  Error with_place(const Error& e) const;  // the same error with where() before it, unless it names the file itself

 private:
  std::unique_ptr<Json> json_;  // never null, but where it was moved from
};

// What a call gives; an error of it gets this place.
template <class F>
auto placed_at(const Config& place, F&& call) {
  try {
    return call();
  } catch (const Error& e) {
    throw place.with_place(e);
  }
}

namespace detail {
[[noreturn]] void config_error(const std::string& where, fmt::string_view why, fmt::format_args args);
}
// "file: path: why"
template <class... A>
[[noreturn]] void config_error(const std::string& where, fmt::format_string<A...> why, A&&... args) {
  detail::config_error(where, why, fmt::make_format_args(args...));
}

// What fields() may say about a value. min and max are inclusive.
struct Field {
  const char* help = "";
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is excluded
  bool required = false;
};

namespace detail {

// How the values of one type stand in JSON. `value` points to one of them.
class ValueForm {
 public:
  virtual void read(const Config& from, void* value, const Field& field) const = 0;
  virtual void write(const void* value, Json& to) const = 0;
  virtual void schema(const void* value, const Field& field, Json& to) const = 0;
  virtual bool is_written(const void*) const { return true; }  // false: its key is left out
  virtual bool has_default() const { return true; }            // that a schema can show

 protected:
  ~ValueForm() = default;
};

template <class T>
const ValueForm& form_of();

Json written(const ValueForm& form, const void* value);
Json schema_of(const ValueForm& form, const void* value);
std::vector<std::string> keys_of(const ValueForm& form, const void* value);
std::string describe(const Json& value);  // "three" in quotes, numbers as they are, "an object", ...

}  // namespace detail

// What fields() lists a struct's members to: that which reads, writes or describes them.
class Fields {
 public:
  template <class T>
  void operator()(const char* key, T& value, Field field = {}) {
    member(key, detail::form_of<T>(), &value, field);
  }

 protected:
  ~Fields() = default;

 private:
  virtual void member(const char* key, const detail::ValueForm& form, void* value, const Field& field) = 0;
};

template <class T>
concept HasFields = requires(Fields& v, T& t) {
  fields(v, t);
};

// Names of an enum's values, in order: std::vector<std::pair<std::string, E>> enum_names(E*), found by its argument.
template <class E>
concept NamedEnum = std::is_enum_v<E> && requires {
  enum_names(static_cast<E*>(nullptr));
};

// A type with a JSON form of its own: three functions found by their argument.
template <class T>
concept CustomValue = requires(const Config& from, T& value, Json& to) {
  read_value(from, value);
  write_value(std::as_const(value), to);
  value_schema(std::as_const(value), to);
};

template <class E>
std::string enum_name(E value) {
  for (const auto& [name, e] : enum_names(static_cast<E*>(nullptr)))
    if (e == value) return name;
  return "?";
}

// Reads JSON onto `value`, which holds the defaults; unknown keys and wrong types throw.
template <class T>
void read_onto(T& value, const Config& from, const Field& field = {}) {
  detail::form_of<T>().read(from, &value, field);
}
template <class T>
T read_config(const Config& from) {
  T value{};
  read_onto(value, from);
  return value;
}
// A Json with every member, defaults included.
template <class T>
auto write_config(const T& value) {
  return detail::written(detail::form_of<T>(), &value);
}
// The JSON Schema (draft 2020-12) of a T, a Json.
template <class T>
auto schema_of() {
  const T value{};
  return detail::schema_of(detail::form_of<T>(), &value);
}
// The keys a struct takes, in order.
template <HasFields T>
std::vector<std::string> keys_of() {
  const T value{};
  return detail::keys_of(detail::form_of<T>(), &value);
}

// A struct with fields() that knows where it stood, for what is found wrong with it after it was read.
template <HasFields T>
struct Placed : T {
  Config place = {};  // without a value
};
template <class T>
void read_value(const Config& from, Placed<T>& value) {
  read_onto(static_cast<T&>(value), from);
  value.place = from.place();
}
template <class T>
void write_value(const Placed<T>& value, Json& to) {
  detail::form_of<T>().write(&static_cast<const T&>(value), to);
}
template <class T>
void value_schema(const Placed<T>& value, Json& to) {
  detail::form_of<T>().schema(&static_cast<const T&>(value), {}, to);
}

// Merges an object over another one (RFC 7386). A null that takes nothing away is an error at its place.
void merge_over(Json& object, const Config& changes);

// Applies "--set optimizer.lr=0.05" to a JSON document: dots separate keys, [i] or a number picks a list element, and
// a name that starts with '/' is a JSON pointer (for keys that hold dots). The value is JSON, or else a string.
void set_config_value(Config& config, std::string_view assignment);

}  // namespace qgrad

#include "core/value_form.h"
