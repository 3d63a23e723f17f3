// Places in files, and what reads, writes and describes values of every type.
#include "core/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

namespace qgrad {

Config::Config() : json_(std::make_unique<Json>()) {}
Config::Config(Json json, std::string in_file, std::string at_path)
    : file(std::move(in_file)), path(std::move(at_path)), json_(std::make_unique<Json>(std::move(json))) {}
Config::Config(const Config& other) : Config(*other.json_, other.file, other.path) {}
Config::Config(Config&&) noexcept = default;
Config::~Config() = default;

Config& Config::operator=(Config other) noexcept {
  file.swap(other.file);
  path.swap(other.path);
  json_.swap(other.json_);
  return *this;
}

Config Config::read(const std::filesystem::path& file) { return {read_json(file), file.string(), ""}; }
Config Config::parse(std::string_view json, std::string path) { return {parse_json(json, path), "", path}; }

bool Config::has(std::string_view key) const { return json().is_object() && json().contains(std::string(key)); }
bool Config::is_null() const { return json().is_null(); }
Config Config::place() const { return {nullptr, file, path}; }
Config Config::member(std::string_view key) const {
  return {nullptr, file, path.empty() ? std::string(key) : fmt::format("{}.{}", path, key)};
}
void Config::expect_object(std::string_view of) const {
  if (!json().is_object()) config_error(where(), "expected an object{}, got {}", of, detail::describe(json()));
}

std::string Config::where() const {
  if (file.empty()) return path.empty() ? "config" : path;
  return path.empty() ? file : file + ": " + path;
}

std::string Config::where(std::string_view key) const { return member(key).where(); }

Config Config::at(std::string_view key) const {
  if (!has(key)) config_error(where(), "'{}' is missing", key);
  Config part = member(key);
  part.json() = json().at(std::string(key));
  return part;
}

Error Config::with_place(const Error& e) const {
  const std::string_view what = e.what();
  const bool names_file = !file.empty() && what.find(file) != std::string_view::npos;
  return names_file || what.starts_with(where()) ? e : Error(fmt::format("{}: {}", where(), what));
}

namespace detail {

void config_error(const std::string& where, fmt::string_view why, fmt::format_args args) {
  fail("{}: {}", where, fmt::vformat(why, args));
}

std::string describe(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = json_line(value);
  if (text.size() > 60) text.replace(57, std::string::npos, "...");
  return text;
}

Json written(const ValueForm& form, const void* value) {
  Json json;
  form.write(value, json);
  return json;
}

Json schema_of(const ValueForm& form, const void* value) {
  Json json = Json::object();
  form.schema(value, {}, json);
  return json;
}

std::vector<std::string> keys_of(const ValueForm& form, const void* value) {
  std::vector<std::string> keys;
  const Json json = schema_of(form, value);
  for (const auto& [key, property] : json.at("properties").items()) keys.push_back(key);
  return keys;
}

namespace {

void expect(bool ok, const Config& from, const char* what) {
  if (!ok) qgrad::config_error(from.where(), "expected {}, got {}", what, describe(from.json()));
}

void check_bounds(const Json& number, const Field& field, const std::string& where) {
  const double value = number.get<double>();
  const bool low = field.above_min ? value <= field.min : value < field.min;
  if (!low && value <= field.max) return;
  const double inf = std::numeric_limits<double>::infinity();
  const std::string got = number.is_number_float() ? fmt::format("{}", value) : describe(number);
  if (field.max == inf)
    qgrad::config_error(where, "expected {} {}, got {}", field.above_min ? "more than" : "at least", field.min, got);
  if (field.min == -inf) qgrad::config_error(where, "expected at most {}, got {}", field.max, got);
  qgrad::config_error(where, "expected {} to {}{}, got {}", field.min, field.max,
                      field.above_min ? " (exclusive below)" : "", got);
}

Json number_schema(const char* type, const Field& field) {
  Json schema = {{"type", type}};
  const double inf = std::numeric_limits<double>::infinity();
  if (field.min != -inf) schema[field.above_min ? "exclusiveMinimum" : "minimum"] = field.min;
  if (field.max != inf) schema["maximum"] = field.max;
  return schema;
}

void read_plain(const Config& from, bool& value, const Field&) {
  expect(from.json().is_boolean(), from, "true or false");
  value = from.json().get<bool>();
}
template <std::integral T>
void read_plain(const Config& from, T& value, const Field& field) {
  const Json& json = from.json();
  const bool is_huge = json.is_number_float() && std::fabs(json.get<double>()) > 0x1p53;  // the range says more
  expect(json.is_number_integer() || is_huge, from, "an integer");
  check_bounds(json, field, from.where());
  const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<uint64_t>())
                                              : json.is_number_integer() && std::in_range<T>(json.get<int64_t>());
  if (!fits)
    qgrad::config_error(from.where(), "expected an integer from {} to {}, got {}", std::numeric_limits<T>::min(),
                        std::numeric_limits<T>::max(), describe(json));
  value = json.get<T>();
}
template <std::floating_point T>
void read_plain(const Config& from, T& value, const Field& field) {
  const Json& json = from.json();
  expect(json.is_number(), from, "a number");
  check_bounds(json, field, from.where());
  value = json.get<T>();
  if (!std::isfinite(value) || (value == 0 && json.get<double>() != 0))
    qgrad::config_error(from.where(), "expected 0 or a number of size {} to {}, got {}",
                        std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::max(), describe(json));
}
void read_plain(const Config& from, std::string& value, const Field&) {
  expect(from.json().is_string(), from, "a string");
  value = from.json().get<std::string>();
}
void read_plain(const Config& from, Json& value, const Field&) { value = from.json(); }
void read_plain(const Config& from, Config& value, const Field&) { value = from; }

Json write_plain(float value) {
  return Json::parse(fmt::format("{}", value));
}  // the shortest that reads back the same
Json write_plain(const Config& value) { return value.json(); }
Json write_plain(const auto& value) { return value; }

template <class T>
Json plain_schema(const Field& field) {
  if constexpr (std::is_same_v<T, bool>) return {{"type", "boolean"}};
  if constexpr (std::is_same_v<T, std::string>) return {{"type", "string"}};
  if constexpr (std::is_integral_v<T>) return number_schema("integer", field);
  if constexpr (std::is_floating_point_v<T>) return number_schema("number", field);
  return Json::object();  // anything
}

template <class T>
class PlainForm final : public ValueForm {
  void read(const Config& from, void* value, const Field& field) const override {
    read_plain(from, *static_cast<T*>(value), field);
  }
  void write(const void* value, Json& to) const override { to = write_plain(*static_cast<const T*>(value)); }
  void schema(const void*, const Field& field, Json& to) const override { to = plain_schema<T>(field); }
  bool has_default() const override { return !std::is_same_v<T, Config>; }
};

// Reads a struct's members from an object; keys no member asked for are errors (finish()).
class ConfigReader final : public Fields {
 public:
  explicit ConfigReader(const Config& config) : config_(config) { config.expect_object(); }
  void finish() const {
    for (const auto& [key, value] : config_.json().items())
      if (std::ranges::find(keys_, key) == keys_.end())
        qgrad::config_error(config_.where(key), "unknown key{}", did_you_mean(key, keys_));
  }

 private:
  void member(const char* key, const ValueForm& form, void* value, const Field& field) override {
    keys_.emplace_back(key);
    if (config_.has(key))
      form.read(config_.at(key), value, field);
    else if (field.required)
      qgrad::config_error(config_.where(), "'{}' is missing", key);
  }
  const Config& config_;
  std::vector<std::string> keys_;
};

class ConfigWriter final : public Fields {
 public:
  Json json = Json::object();

 private:
  void member(const char* key, const ValueForm& form, void* value, const Field&) override {
    if (form.is_written(value)) form.write(value, json[key]);
  }
};

class SchemaWriter final : public Fields {
 public:
  Json take() {
    Json schema = {{"type", "object"}, {"properties", std::move(properties_)}, {"additionalProperties", false}};
    if (!required_.empty()) schema["required"] = std::move(required_);
    return schema;
  }

 private:
  void member(const char* key, const ValueForm& form, void* value, const Field& field) override {
    Json property = Json::object();
    form.schema(value, field, property);
    if (*field.help) property["description"] = field.help;
    if (field.required)
      required_.push_back(key);
    else if (form.has_default())
      property["default"] = written(form, value);
    properties_[key] = std::move(property);
  }
  Json properties_ = Json::object();
  Json required_ = Json::array();
};

}  // namespace

template <PlainValue T>
const ValueForm& plain_form() {
  static constexpr PlainForm<T> form;
  return form;
}
template const ValueForm& plain_form<bool>();
template const ValueForm& plain_form<int8_t>();
template const ValueForm& plain_form<int32_t>();
template const ValueForm& plain_form<int64_t>();
template const ValueForm& plain_form<uint32_t>();
template const ValueForm& plain_form<uint64_t>();
template const ValueForm& plain_form<float>();
template const ValueForm& plain_form<double>();
template const ValueForm& plain_form<std::string>();
template const ValueForm& plain_form<Json>();
template const ValueForm& plain_form<Config>();

void EnumForm::read(const Config& from, void* value, const Field&) const {
  expect(from.json().is_string(), from, "a string");
  const auto given = from.json().get<std::string>();
  std::vector<std::string> known;
  for (const auto& [name, e] : names()) {
    if (name == given) return set(value, e);
    known.push_back(name);
  }
  qgrad::config_error(from.where(), "expected one of {}; got {}{}", joined(known), describe(from.json()),
                      did_you_mean(given, known));
}
void EnumForm::write(const void* value, Json& to) const {
  to = "?";
  for (const auto& [name, e] : names())
    if (e == get(value)) return void(to = name);
}
void EnumForm::schema(const void*, const Field&, Json& to) const {
  Json all = Json::array();
  for (const auto& [name, e] : names()) all.push_back(name);
  to = {{"enum", std::move(all)}};
}

void OptionalForm::read(const Config& from, void* value, const Field& field) const {
  if (from.is_null() && !knows_absent_)
    reset(value);
  else
    inner_().read(from, emplace(value), field);
}
void OptionalForm::write(const void* value, Json& to) const {
  to = nullptr;
  if (const void* inner = get(value)) inner_().write(inner, to);
}
void OptionalForm::schema(const void*, const Field& field, Json& to) const {
  inner_schema(field, to);
  if (!knows_absent_) to = {{"anyOf", Json::array({to, Json{{"type", "null"}}})}};
}

void ListForm::read(const Config& from, void* value, const Field& field) const {
  expect(from.json().is_array(), from, "a list");
  clear(value);
  for (size_t i = 0; i < from.json().size(); ++i)
    element_().read({from.json()[i], from.file, fmt::format("{}[{}]", from.path, i)}, append(value), field);
}
void ListForm::write(const void* value, Json& to) const {
  to = Json::array();
  for (size_t i = 0; i < size(value); ++i) to.push_back(written(element_(), at(value, i)));
}
void ListForm::schema(const void*, const Field& field, Json& to) const {
  Json element = Json::object();
  element_schema(field, element);
  to = {{"type", "array"}, {"items", std::move(element)}};
}

void StructForm::read(const Config& from, void* value, const Field&) const {
  ConfigReader reader(from);
  list(reader, value);
  reader.finish();
}
void StructForm::write(const void* value, Json& to) const {
  ConfigWriter writer;
  list(writer, const_cast<void*>(value));  // a writer only looks
  to = std::move(writer.json);
}
void StructForm::schema(const void* value, const Field&, Json& to) const {
  SchemaWriter writer;
  list(writer, const_cast<void*>(value));
  to = writer.take();
}

}  // namespace detail

void merge_over(Json& object, const Config& changes) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  for (const auto& [key, value] : changes.json().items()) {
    if (value.is_null() && object.erase(key) == 0)
      config_error(changes.where(key), "null takes away what is there, and there is none{}", did_you_mean(key, keys));
    if (value.is_null()) continue;
    if (!value.is_object()) {
      object[key] = value;
      continue;
    }
    if (!object.contains(key) || !object[key].is_object()) object[key] = Json::object();
    merge_over(object[key], changes.at(key));
  }
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
  Json* at = &config.json();
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
