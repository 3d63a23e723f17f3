// Configs with one thing wrong, generated: each is refused with its place, or means something else, and the schema says
// the same.
#include <fmt/format.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "data/movielens.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/json_schema.h"

using namespace qgrad;
using Pointer = Json::json_pointer;

namespace {

constexpr const char* kFile = "shipped.json";

const std::vector<Json>& wrong_values() {
  static const std::vector<Json> all{nullptr,
                                     true,
                                     -1,
                                     0.5,
                                     2147483648,
                                     9223372036854775807,
                                     18446744073709551616.0,
                                     1e39,
                                     1e300,
                                     1e-60,
                                     "",
                                     "x",
                                     "../x",
                                     Json::array(),
                                     Json::array({nullptr}),
                                     Json::object(),
                                     {{"unknown_key", 1}}};
  return all;
}

// A config with one thing wrong.
struct Mutant {
  enum class Kind { value, unknown_key, misspelt_key, key_left_out, key_twice, number_too_large };
  Kind kind;
  Pointer at;  // what is wrong
  Json content;
};

// Words of a Json that the text of it has no more.
constexpr const char *kAgain = "@again@", *kTooLarge = "@too large@";

std::string text_of(const Json& content) {
  std::string text = content.dump();
  const auto replace = [&](const std::string& word, const std::string& by) {
    for (size_t at = 0; (at = text.find(word, at)) != text.npos;) text.replace(at, word.size(), by);
  };
  replace(kAgain, "");
  replace(fmt::format("\"{}\"", kTooLarge), "-1e400");
  return text;
}

Json with(Json content, const Pointer& at, const Json& value) {
  content[at] = value;
  return content;
}
Json without(Json content, const Pointer& at) {
  content.at(at.parent_pointer()).erase(at.back());
  return content;
}

void add_mutants_of_value(const Json& content, const Pointer& at, std::vector<Mutant>& mutants) {
  using enum Mutant::Kind;
  const Json& old = content.at(at);
  for (const Json& wrong : wrong_values())
    if (wrong != old && !(wrong == Json::object() && old.is_object()))
      mutants.push_back({value, at, with(content, at, wrong)});
  mutants.push_back({number_too_large, at, with(content, at, kTooLarge)});
  if (!content.at(at.parent_pointer()).is_object()) return;
  mutants.push_back({key_left_out, at, without(content, at)});
  mutants.push_back({key_twice, at, with(content, at.parent_pointer() / (kAgain + at.back()), old)});
  const Pointer misspelt = at.parent_pointer() / (at.back() + "x");
  mutants.push_back({misspelt_key, misspelt, with(without(content, at), misspelt, old)});
}

// All of what is below `under`.
std::vector<Mutant> mutants_of(const Json& content, const std::string& under) {
  std::vector<Mutant> mutants;
  std::function<void(const Pointer&)> visit = [&](const Pointer& at) {
    const Json& value = content.at(at);
    const bool counts = at.to_string().starts_with(under);
    if (counts && !at.empty()) add_mutants_of_value(content, at, mutants);
    if (counts && value.is_object())
      mutants.push_back({Mutant::Kind::unknown_key, at / "unknown_key", with(content, at / "unknown_key", 1)});
    if (value.is_object())
      for (const auto& [key, member] : value.items()) visit(at / key);
    if (value.is_array())
      for (size_t i = 0; i < value.size(); ++i) visit(at / i);
  };
  visit(Pointer());
  return mutants;
}

// "rows[0].name" of "/rows/0/name".
std::string place_of(const Json& content, const Pointer& at) {
  if (at.empty()) return "";
  const std::string around = place_of(content, at.parent_pointer());
  if (content.at(at.parent_pointer()).is_array()) return fmt::format("{}[{}]", around, at.back());
  return around.empty() ? at.back() : around + "." + at.back();
}

// What an error about it must say, at the least. What "quick" changes has the place of what it changes, and a cell of a
// matrix is named by its coordinates.
std::string place_around(const Json& content, const Pointer& at) {
  std::string around = place_of(content, at.parent_pointer());
  if (around.starts_with("quick")) around.erase(0, std::strlen("quick."));
  if (around.starts_with("matrices[")) around.erase(around.find(']') + 1);
  return around;
}

struct Outcome {
  Json resolved;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const std::function<Json()>& call) {
  try {
    return {call(), ""};
  } catch (const Error& e) {
    return {nullptr, e.what()};
  } catch (const std::exception& e) {
    return {nullptr, fmt::format("not an Error: {}", e.what())};
  }
}

// What reads configs, and what describes them.
struct Reader {
  std::function<std::vector<Json>(const Config& content)> resolve;
  test::JsonSchema schema;

  Outcome operator()(const Json& content) const {
    return outcome_of([&] { return Json(resolve({parse_json(text_of(content), kFile), kFile, ""})); });
  }
};

// Without the "quick" settings of the config and with them.
Reader reader_of(const std::string& command) {
  const auto resolve = [=](const Config& config) {
    std::vector<Json> forms{resolve_config(command, config, {})};
    if (config.has("quick")) forms.push_back(resolve_config(command, config, {.quick = true}));
    return forms;
  };
  return {resolve, test::JsonSchema(config_schema(command))};
}

struct Tally {
  int refused = 0, changed = 0, same = 0;
  int all() const { return refused + changed + same; }
};

// Whether an error is about what a schema can say.
bool is_of_form(const std::string& error) {
  if (error.find("'model' is missing") != error.npos) return false;  // and no checkpoint that says it
  for (const char* words :
       {"unknown key", "expected an integer,", "expected a number,", "expected a string", "expected true or false",
        "expected an object", "expected a list", "expected one of", "is missing"})
    if (error.find(words) != error.npos) return true;
  return false;
}

// What is in it has the class of what it is merged over, which no schema knows.
bool is_merged(const std::string& place) {
  const auto is_in = [&](const char* list, const char* part) {
    return place.starts_with(list) && place.find(part) != place.npos;
  };
  return place.starts_with("quick.") || is_in("rows[", ".train.") || is_in("matrices[", ".axes[");
}

// What is wrong with how a mutant was taken, or "".
std::string complaint(const Reader& reader, const Outcome& before, const Mutant& mutant, Tally& tally) {
  using enum Mutant::Kind;
  const Outcome after = reader(mutant.content);
  const bool refused = !after.error.empty(), same = after == before;
  ++(refused ? tally.refused : same ? tally.same : tally.changed);
  if (same) return mutant.kind == key_left_out ? "" : "nothing says that it was changed";
  const std::string place = place_of(mutant.content, mutant.at);
  if (refused && !after.error.starts_with(kFile)) return "an error without its file: " + after.error;
  if (refused && after.error.find("json.exception") != std::string::npos) return after.error;
  if (mutant.kind == key_twice || mutant.kind == number_too_large)
    return after.error.starts_with(fmt::format("{}: {}: ", kFile, place)) ? "" : "an error elsewhere: " + after.error;
  const std::string around = place_around(mutant.content, mutant.at);
  if (refused && after.error.find(around) == std::string::npos)
    return fmt::format("an error without '{}': {}", around, after.error);
  const std::string violation = reader.schema.violation(mutant.content);
  if (!violation.empty() && !refused) return "only the schema refuses it: " + violation;
  if (violation.empty() && is_of_form(after.error) && !is_merged(place))
    return "only the reader refuses it: " + after.error;
  return "";
}

// Every value below `under`, and every key, wrong in every way.
void check_mutants(const Json& content, const std::string& under, const Reader& reader, Tally& tally) {
  const Outcome before = reader(content);
  CAPTURE(before.error, reader.schema.violation(content));
  REQUIRE(before.error.empty());
  REQUIRE(reader.schema.violation(content).empty());
  for (const Mutant& mutant : mutants_of(content, under)) {
    const std::string wrong = complaint(reader, before, mutant, tally);
    INFO(mutant.at.to_string() << ", " << static_cast<int>(mutant.kind) << ": "
                               << text_of(mutant.content).substr(0, 300) << ": " << wrong);
    CHECK(wrong.empty());
  }
}

std::string command_of(const Json& content) {
  for (const auto& [key, command] : {std::pair("rows", "compare"),
                                     {"matrices", "compare"},
                                     {"train", "train"},
                                     {"search", "search"},
                                     {"sensitivity", "sensitivity"}})
    if (content.contains(key)) return command;
  return "quantize";
}

// Files of configs/ and examples/ that a command reads, but for those of programs with classes of their own.
std::vector<std::filesystem::path> shipped_configs() {
  std::vector<std::filesystem::path> files;
  for (const char* folder : {"/configs", "/examples/own_images", "/examples/from_pytorch"})
    for (const auto& entry : std::filesystem::directory_iterator(QGRAD_SOURCE_DIR + std::string(folder)))
      if (entry.path().extension() == ".json") files.push_back(entry.path());
  return files;
}

// One that a command reads whole, with as much of long lists as differs in kind.
Json shortened(Json content) {
  if (!content.contains("name")) content.update({{"name", "x"}, {"quantizer", {{"class", "LSQQuantizer"}}}});
  if (!content.contains("model") && !content.contains("checkpoint")) content["model"] = {{"class", "resnet20"}};
  if (!content.contains("matrices")) return content;
  for (Json& matrix : content["matrices"])
    for (Json& axis : matrix["axes"])
      while (axis.size() > 2) axis.erase(std::string(std::next(axis.begin(), 2).key()));
  return content;
}

}  // namespace

TEST_CASE("a shipped config with one thing wrong is refused with its place, or resolves to something else") {
  std::set<std::string> seen;  // classes of rows
  Tally tally;
  for (const auto& file : shipped_configs()) {
    Json content = shortened(read_json(file));
    CAPTURE(file.filename().string());
    const Reader reader = reader_of(command_of(content));
    if (!content.contains("rows")) {
      check_mutants(content, "", reader, tally);
      continue;
    }
    // One row at a time, and the others' classes only where they are new.
    const Json rows = content["rows"];
    bool is_first = true;
    for (const Json& row : rows) {
      if (!seen.insert(row.at("quantizer").at("class").get<std::string>()).second && !is_first) continue;
      content["rows"] = Json::array({row});
      check_mutants(content, is_first ? "" : "/rows/0", reader, tally);
      is_first = false;
    }
  }
  CAPTURE(tally.refused, tally.changed, tally.same);
  CHECK(tally.all() > 10000);
  CHECK(tally.refused > tally.changed);
}

namespace {

// What preparing the config's model says to this quantizer.
std::string refusal_of(const Json& content, const Json& quantizer) {
  return test::error_of([&] {
    ModulePtr model = build_model({content.at("model"), kFile, "model"}, 1, std::nullopt);
    const auto made = Registry<Quantizer>::create({quantizer, kFile, "quantizer"});
    made->forgo_stats();
    made->prepare(model, nullptr, Tensor::zeros({1, 32, 32, 3}));
  });
}

// Every pattern and every setting with a letter too much. Counts them.
int check_overrides(const Json& content, const Json& quantizer) {
  const Json overrides = quantizer.value("overrides", Json::object());
  std::vector<Pointer> keys;
  for (const auto& [pattern, settings] : overrides.items()) {
    keys.push_back(Pointer() / pattern);
    for (const auto& [setting, value] : settings.items()) keys.push_back(Pointer() / pattern / setting);
  }
  for (const Pointer& at : keys) {
    const Pointer misspelt = at.parent_pointer() / (at.back() + "x");
    const Json wrong = with(without(overrides, at), misspelt, overrides.at(at));
    const std::string place = fmt::format("{}: quantizer.overrides.{}", kFile, place_of(wrong, misspelt));
    const std::string error = refusal_of(content, with(quantizer, Pointer("/overrides"), wrong));
    CAPTURE(place, error);
    CHECK(error.starts_with(place));
  }
  return static_cast<int>(keys.size());
}

}  // namespace

TEST_CASE("a misspelt layer or setting in the overrides of a shipped config is refused where it stands") {
  int checked = 0;
  for (const auto& file : shipped_configs()) {
    CAPTURE(file.filename().string());
    const Json content = read_json(file);
    if (content.contains("quantizer")) checked += check_overrides(content, content.at("quantizer"));
    for (const Json& row : content.value("rows", Json::array()))
      checked += check_overrides(content, row.at("quantizer"));
  }
  CHECK(checked > 50);
}

namespace {

template <class Base>
Reader reader_of_classes() {
  const auto resolve = [](const Config& content) {
    return std::vector<Json>{Registry<Base>::resolve(content.at("part"))};
  };
  const Json schema = {{"type", "object"}, {"properties", {{"part", Registry<Base>::instance().schema()}}}};
  return {resolve, test::JsonSchema(schema)};
}

template <class Base>
void check_classes(Tally& tally) {
  const Reader reader = reader_of_classes<Base>();
  for (const std::string& name : Registry<Base>::instance().names()) {
    CAPTURE(name);
    const Outcome plain = reader({{"part", {{"class", name}}}});
    if (!plain.error.empty())  // some have settings without a default
      CHECK(plain.error.find("is missing") != std::string::npos);
    else
      check_mutants({{"part", plain.resolved[0]}}, "/part/", reader, tally);
  }
}

}  // namespace

TEST_CASE("a setting of any class with a wrong value is refused with its place, or resolves to something else") {
  Tally tally;
  check_classes<Quantizer>(tally);
  check_classes<Architecture>(tally);
  check_classes<Optimizer>(tally);
  check_classes<Schedule>(tally);
  check_classes<Dataset>(tally);
  check_classes<RatingSource>(tally);
  CAPTURE(tally.refused, tally.changed, tally.same);
  CHECK(tally.all() > 5000);
}
