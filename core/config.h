// Typed configs from JSON. One fields() list per struct reads it, writes it resolved, checks its keys and makes its
// schema.
//
//   struct SgdConfig { float lr = 0.1f; std::optional<float> clip; };
//   template <class V> void fields(V& v, SgdConfig& c) {
//     v("lr", c.lr, {.help = "learning rate", .min = 0});
//     v("clip", c.clip, {.help = "largest gradient norm; null: none", .min = 0});
//   }
//   SgdConfig c = read_config<SgdConfig>(Config{json, "train.json", "optimizer"});
//
// Values: bool, integers, float, double, std::string, enums with an enum_names() overload, std::optional (null is
// nullopt; optional<optional<T>> also tells absent from null), std::vector, nested structs with fields(), types with
// read_value(), write_value() and value_schema() overloads, and Config itself for parts that are read later (a
// registered class, say). A derived struct lists its base's fields by calling fields(v, static_cast<Base&>(c)).
#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
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
  Json value;
  std::string file;  // "" when the value did not come from a file
  std::string path;  // "quantizer.overrides.conv1"; "" for the whole file

  static Config read(const std::filesystem::path& file) { return {read_json(file), file.string(), ""}; }
  std::string where() const;                      // "train.json: optimizer.lr"
  std::string where(std::string_view key) const;  // of a member
  Config at(std::string_view key) const;          // a member; throws where absent
  bool has(std::string_view key) const { return value.is_object() && value.contains(std::string(key)); }
  Error with_place(const Error& e) const;  // the same error with where() before it, unless it names the file itself
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

// "file: path: why"
template <class... A>
[[noreturn]] void config_error(const std::string& where, fmt::format_string<A...> why, A&&... args) {
  fail("{}: {}", where, fmt::vformat(why, fmt::make_format_args(args...)));
}

// What fields() may say about a value. min and max are inclusive.
struct Field {
  const char* help = "";
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is excluded
  bool required = false;
};

// Names of an enum's values, in order: std::vector<std::pair<std::string, E>> enum_names(E*), found by its argument.
template <class E>
concept NamedEnum = std::is_enum_v<E> && requires {
  enum_names(static_cast<E*>(nullptr));
};

namespace detail {
struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&, Field = {}) {}
};
template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {
  using inner = T;
};
template <class T>
struct is_vector : std::false_type {};
template <class T>
struct is_vector<std::vector<T>> : std::true_type {
  using inner = T;
};
void check_bounds(const Json& number, const Field& field, const std::string& where);
std::string describe(const Json& value);  // "three" in quotes, numbers as they are, "an object", ...
}  // namespace detail

// A type with a JSON form of its own: three functions found by their argument.
template <class T>
concept CustomValue = requires(const Config& from, T& value) {
  read_value(from, value);
  { write_value(std::as_const(value)) } -> std::same_as<Json>;
  { value_schema(&value) } -> std::same_as<Json>;
};

template <class T>
concept HasFields = requires(detail::AnyVisitor& v, T& t) {
  fields(v, t);
};

template <class E>
std::string enum_name(E value) {
  for (const auto& [name, e] : enum_names(static_cast<E*>(nullptr)))
    if (e == value) return name;
  return "?";
}

// Reads a struct's members from an object; keys no member asked for are errors (finish()).
class ConfigReader {
 public:
  explicit ConfigReader(const Config& config) : config_(config) {
    if (!config.value.is_object())
      config_error(config.where(), "expected an object, got {}", detail::describe(config.value));
  }
  template <class T>
  void operator()(const char* key, T& value, Field field = {}) {
    keys_.emplace_back(key);
    const auto it = config_.value.find(key);
    if (it == config_.value.end()) {
      if (field.required) config_error(config_.where(), "'{}' is missing", key);
      return;
    }
    read({*it, config_.file, config_.path.empty() ? key : config_.path + "." + key}, value, field);
  }
  void finish() const;  // throws at the first unknown key, with the nearest known one

  template <class T>
  static void read(const Config& from, T& value, const Field& field);

 private:
  const Config& config_;
  std::vector<std::string> keys_;
};

template <class T>
void ConfigReader::read(const Config& from, T& value, const Field& field) {
  const Json& json = from.value;
  const auto expect = [&](bool ok, const char* what) {
    if (!ok) config_error(from.where(), "expected {}, got {}", what, detail::describe(json));
  };
  if constexpr (std::is_same_v<T, Config>) {
    value = from;
  } else if constexpr (std::is_same_v<T, Json>) {
    value = json;
  } else if constexpr (detail::is_optional<T>::value) {
    using Inner = typename detail::is_optional<T>::inner;
    if constexpr (detail::is_optional<Inner>::value) {
      value.emplace();
      read(from, *value, field);
    } else if (json.is_null()) {
      value.reset();
    } else {
      read(from, value.emplace(), field);
    }
  } else if constexpr (std::is_same_v<T, bool>) {
    expect(json.is_boolean(), "true or false");
    value = json.get<bool>();
  } else if constexpr (std::integral<T>) {
    const bool is_huge = json.is_number_float() && std::fabs(json.get<double>()) > 0x1p53;  // the range says more
    expect(json.is_number_integer() || is_huge, "an integer");
    detail::check_bounds(json, field, from.where());
    const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<uint64_t>())
                                                : json.is_number_integer() && std::in_range<T>(json.get<int64_t>());
    if (!fits)
      config_error(from.where(), "expected an integer from {} to {}, got {}", std::numeric_limits<T>::min(),
                   std::numeric_limits<T>::max(), detail::describe(json));
    value = json.get<T>();
  } else if constexpr (std::floating_point<T>) {
    expect(json.is_number(), "a number");
    detail::check_bounds(json, field, from.where());
    value = json.get<T>();
    if (!std::isfinite(value) || (value == 0 && json.get<double>() != 0))
      config_error(from.where(), "expected 0 or a number of size {} to {}, got {}",
                   std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::max(), detail::describe(json));
  } else if constexpr (std::is_same_v<T, std::string>) {
    expect(json.is_string(), "a string");
    value = json.get<std::string>();
  } else if constexpr (NamedEnum<T>) {
    expect(json.is_string(), "a string");
    std::vector<std::string> names;
    for (const auto& [name, e] : enum_names(static_cast<T*>(nullptr))) {
      if (name == json.get<std::string>()) {
        value = e;
        return;
      }
      names.push_back(name);
    }
    config_error(from.where(), "expected one of {}; got {}{}", joined(names), detail::describe(json),
                 did_you_mean(json.get<std::string>(), names));
  } else if constexpr (detail::is_vector<T>::value) {
    expect(json.is_array(), "a list");
    value.clear();
    for (size_t i = 0; i < json.size(); ++i) {
      typename detail::is_vector<T>::inner element{};
      read(Config{json[i], from.file, fmt::format("{}[{}]", from.path, i)}, element, field);
      value.push_back(std::move(element));
    }
  } else if constexpr (CustomValue<T>) {
    read_value(from, value);
  } else {
    static_assert(HasFields<T>, "a config member needs fields(), enum_names(), read_value(), or a plain JSON type");
    ConfigReader reader(from);
    fields(reader, value);
    reader.finish();
  }
}

// The resolved config: every member, defaults included.
class ConfigWriter {
 public:
  template <class T>
  void operator()(const char* key, T& value, Field = {}) {
    if constexpr (detail::is_optional<T>::value)
      if constexpr (detail::is_optional<typename detail::is_optional<T>::inner>::value)
        if (!value) return;
    json_[key] = write(value);
  }
  template <class T>
  static Json write(T& value);
  Json take() { return std::move(json_); }

 private:
  Json json_ = Json::object();
};

template <class T>
Json ConfigWriter::write(T& value) {
  using V = std::remove_const_t<T>;
  if constexpr (std::is_same_v<V, Config>) {
    return value.value;
  } else if constexpr (detail::is_optional<V>::value) {
    return value ? write(*value) : Json(nullptr);
  } else if constexpr (std::is_same_v<V, float>) {
    return Json::parse(fmt::format("{}", value));  // the shortest decimal that reads back to the same float
  } else if constexpr (NamedEnum<V>) {
    return enum_name(value);
  } else if constexpr (detail::is_vector<V>::value) {
    Json list = Json::array();
    for (auto element : value) list.push_back(write(element));
    return list;
  } else if constexpr (CustomValue<V>) {
    return write_value(value);
  } else if constexpr (HasFields<V>) {
    ConfigWriter writer;
    fields(writer, const_cast<V&>(value));
    return writer.take();
  } else {
    return Json(value);
  }
}

// JSON Schema (draft 2020-12) of a struct's object.
class SchemaWriter {
 public:
  template <class T>
  void operator()(const char* key, T& value, Field field = {}) {
    Json property = schema_of(value, field);
    if (*field.help) property["description"] = field.help;
    if (!field.required) {
      if constexpr (!std::is_same_v<T, Config>) property["default"] = ConfigWriter::write(value);
    } else {
      required_.push_back(key);
    }
    properties_[key] = std::move(property);
  }
  Json take();
  template <class T>
  static Json schema_of(T& value, const Field& field);

 private:
  static Json number(const char* type, const Field& field);
  static Json nullable(Json schema);
  Json properties_ = Json::object();
  Json required_ = Json::array();
};

template <class T>
Json SchemaWriter::schema_of(T& value, const Field& field) {
  if constexpr (std::is_same_v<T, Config> || std::is_same_v<T, Json>) {
    return Json::object();
  } else if constexpr (detail::is_optional<T>::value) {
    typename detail::is_optional<T>::inner inner{};
    if constexpr (detail::is_optional<decltype(inner)>::value)
      return schema_of(inner, field);
    else
      return nullable(schema_of(inner, field));
  } else if constexpr (std::is_same_v<T, bool>) {
    return {{"type", "boolean"}};
  } else if constexpr (std::integral<T>) {
    return number("integer", field);
  } else if constexpr (std::floating_point<T>) {
    return number("number", field);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return {{"type", "string"}};
  } else if constexpr (NamedEnum<T>) {
    Json names = Json::array();
    for (const auto& entry : enum_names(static_cast<T*>(nullptr))) names.push_back(entry.first);
    return {{"enum", names}};
  } else if constexpr (detail::is_vector<T>::value) {
    typename detail::is_vector<T>::inner element{};
    return {{"type", "array"}, {"items", schema_of(element, field)}};
  } else if constexpr (CustomValue<T>) {
    return value_schema(&value);
  } else {
    SchemaWriter writer;
    fields(writer, value);
    return writer.take();
  }
}

// A struct with fields() that knows where it stood, for what is found wrong with it after it was read.
template <HasFields T>
struct Placed : T {
  Config place = {};  // without a value
};
template <class T>
void read_value(const Config& from, Placed<T>& value) {
  ConfigReader::read(from, static_cast<T&>(value), {});
  value.place = {nullptr, from.file, from.path};
}
template <class T>
Json write_value(const Placed<T>& value) {
  return ConfigWriter::write(static_cast<const T&>(value));
}
template <class T>
Json value_schema(Placed<T>* value) {
  return SchemaWriter::schema_of(static_cast<T&>(*value), {});
}

// Reads every member onto `value`, which holds the defaults; unknown keys and wrong types throw.
template <HasFields T>
void read_onto(T& value, const Config& from) {
  ConfigReader::read(from, value, {});
}
template <HasFields T>
T read_config(const Config& from) {
  T value{};
  read_onto(value, from);
  return value;
}
template <HasFields T>
Json write_config(const T& value) {
  return ConfigWriter::write(value);
}
template <HasFields T>
Json schema_of() {
  T value{};
  return SchemaWriter::schema_of(value, {});
}
// The keys a struct takes, in order.
template <HasFields T>
std::vector<std::string> keys_of() {
  std::vector<std::string> keys;
  const Json json = schema_of<T>();
  for (const auto& [key, property] : json.at("properties").items()) keys.push_back(key);
  return keys;
}

// Applies "--set optimizer.lr=0.05" to a JSON document: dots separate keys, [i] or a number picks a list element, and
// a name that starts with '/' is a JSON pointer (for keys that hold dots). The value is JSON, or else a string.
void set_config_value(Config& config, std::string_view assignment);

}  // namespace qgrad
