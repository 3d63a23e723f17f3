// yaml-cpp's nodes become JSON.
#include "apps/distiller/yaml.h"

#include <yaml-cpp/yaml.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/file.h"

namespace qgrad {
namespace {

// Aliases of aliases grow without bound, and those of what they are in have no end.
constexpr int64_t kMostValues = 1'000'000;
constexpr int kDeepest = 100;

template <class T>
std::optional<T> number_in_yaml(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value) : std::nullopt;
}

Json plain_scalar(const std::string& text) {
  static const std::set<std::string> nulls{"", "~", "null", "Null", "NULL"};
  static const std::set<std::string> yes{"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"};
  static const std::set<std::string> no{"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"};
  if (nulls.contains(text)) return nullptr;
  if (yes.contains(text)) return true;
  if (no.contains(text)) return false;
  const size_t first = text.find_first_not_of("+-");
  const bool is_number = first <= 1 && text.find_first_of("0123456789", first) <= first + 1;
  const bool is_octal = is_number && text[first] == '0' && first + 1 < text.size() && text[first + 1] != '.' &&
                        text[first + 1] != 'e' && text[first + 1] != 'E';
  if (!is_number || is_octal) return text;
  if (const auto integer = number_in_yaml<int64_t>(text)) return *integer;
  if (const auto real = number_in_yaml<double>(text)) return *real;
  return text;
}

class YamlReader {
 public:
  explicit YamlReader(std::string file) : file_(std::move(file)) {}

  Json value_of(const YAML::Node& node, int depth = 0) {
    if (depth > kDeepest) refuse(node, fmt::format("nested deeper than {} levels", kDeepest));
    if (++values_ > kMostValues) refuse(node, fmt::format("more than {} values", kMostValues));
    if (node.IsMap()) return object_of(node, depth);
    if (node.IsSequence()) return list_of(node, depth);
    if (!node.IsScalar()) return nullptr;
    const std::string& tag = node.Tag();
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return node.Scalar();  // "!": in quotes
    if (!tag.empty() && tag != "?") refuse(node, fmt::format("the tag {} is not known", tag));
    return plain_scalar(node.Scalar());
  }

 private:
  Json object_of(const YAML::Node& node, int depth) {
    Json object = Json::object();
    std::set<std::string> keys;
    for (const auto& member : node) {
      if (!member.first.IsScalar()) refuse(member.first, "expected a key that is text or a number");
      const std::string& key = member.first.Scalar();
      if (key == "<<") refuse(member.first, "merge keys (<<) are not known: write the keys out");
      if (!keys.insert(key).second) refuse(member.first, fmt::format("the key '{}' stands twice", key));
      object.get_ref<Json::object_t&>().emplace_back(key, value_of(member.second, depth + 1));
    }
    return object;
  }

  Json list_of(const YAML::Node& node, int depth) {
    Json list = Json::array();
    for (const YAML::Node& element : node) list.push_back(value_of(element, depth + 1));
    return list;
  }

  [[noreturn]] void refuse(const YAML::Node& node, const std::string& why) const {
    fail("{}: line {}: {}", file_, node.Mark().line + 1, why);
  }

  std::string file_;
  int64_t values_ = 0;
};

}  // namespace

Json read_yaml(const std::filesystem::path& file) {
  const std::string text = read_file(file, "a YAML file");
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    check(documents.size() == 1, "{}: expected one YAML document, got {}", file.string(), documents.size());
    return YamlReader(file.string()).value_of(documents[0]);
  } catch (const YAML::Exception& e) {
    fail("{}: line {}: {}", file.string(), e.mark.line + 1, e.msg);
  }
}

}  // namespace qgrad
