// Configs with one thing wrong, generated: each is refused with its place, or means something else.
#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/command.h"
#include "data/movielens.h"
#include "quant/quantizer.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

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

struct Outcome {
  Json resolved;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

// What a command makes of a config, without its "quick" settings and with them.
using Resolve = std::function<std::vector<Outcome>(const Json& content)>;

std::vector<Outcome> outcomes_of(const std::vector<std::function<Json()>>& calls) {
  std::vector<Outcome> outcomes;
  for (const auto& call : calls) try {
      outcomes.push_back({call(), ""});
    } catch (const Error& e) {
      outcomes.push_back({nullptr, e.what()});
    } catch (const std::exception& e) {
      outcomes.push_back({nullptr, fmt::format("not an Error: {}", e.what())});
    }
  return outcomes;
}

constexpr const char* kFile = "shipped.json";

Resolve resolve_by(const std::string& command) {
  return [=](const Json& content) {
    const Config config{content, kFile, ""};
    std::vector<std::function<Json()>> calls{[=] { return resolve_config(command, config, {}); }};
    if (content.contains("quick")) calls.push_back([=] { return resolve_config(command, config, {.quick = true}); });
    return outcomes_of(calls);
  };
}

// "rows[0]" of "/rows/0/name".
std::string first_part(const Json::json_pointer& pointer) {
  Json::json_pointer at = pointer;
  std::vector<std::string> keys;
  for (; !at.empty(); at.pop_back()) keys.insert(keys.begin(), at.back());
  const bool in_list = keys.size() > 1 && keys[1].find_first_not_of("0123456789") == std::string::npos;
  return in_list ? fmt::format("{}[{}]", keys[0], keys[1]) : keys[0];
}

// What is wrong with how a changed config was taken, or "".
std::string complaint(const std::vector<Outcome>& before, const std::vector<Outcome>& after, const std::string& part) {
  if (before == after) return "nothing says that it was changed";
  for (const Outcome& outcome : after) {
    if (outcome.error.empty()) continue;
    if (!outcome.error.starts_with(kFile)) return "an error without its file: " + outcome.error;
    if (outcome.error.find("json.exception") != std::string::npos) return outcome.error;
    if (outcome.error.find(part) == std::string::npos && outcome.error.find("\"quick\"") == std::string::npos)
      return fmt::format("an error without '{}': {}", part, outcome.error);
  }
  return "";
}

// Every value below `under` is replaced by every wrong one, and every object gets an unknown key. Counts the changes.
int check_changes(const Json& content, const std::string& under, const Resolve& resolve) {
  const std::vector<Outcome> before = resolve(content);
  for (const Outcome& outcome : before) REQUIRE(outcome.error.empty());
  int changes = 0;
  const auto check_change = [&](const Json::json_pointer& at, const Json& value) {
    Json changed = content;
    changed[at] = value;
    const std::string wrong = complaint(before, resolve(changed), first_part(at));
    INFO(at.to_string() << " = " << value.dump() << ": " << wrong);
    CHECK(wrong.empty());
    ++changes;
  };
  std::function<void(const Json::json_pointer&)> visit = [&](const Json::json_pointer& at) {
    const Json& value = content.at(at);
    if (!at.empty() && at.to_string().starts_with(under))
      for (const Json& wrong : wrong_values())
        if (wrong != value && !(wrong == Json::object() && value.is_object())) check_change(at, wrong);
    if (value.is_object() && at.to_string().starts_with(under)) check_change(at / "unknown_key", 1);
    if (value.is_object())
      for (const auto& [key, member] : value.items()) visit(at / key);
    if (value.is_array())
      for (size_t i = 0; i < value.size(); ++i) visit(at / i);
  };
  visit(Json::json_pointer());
  return changes;
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

}  // namespace

TEST_CASE("a shipped config with one thing wrong is refused with its place, or resolves to something else") {
  CLI::App app;
  add_commands(app);
  std::set<std::string> seen;  // classes of rows
  int changes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(QGRAD_SOURCE_DIR "/configs")) {
    Json content = read_json(entry.path());
    CAPTURE(entry.path().filename().string());
    const Resolve resolve = resolve_by(command_of(content));
    if (content.contains("matrices"))  // two names of each axis are enough
      for (Json& matrix : content["matrices"])
        for (Json& axis : matrix["axes"])
          while (axis.size() > 2) axis.erase(std::string(std::next(axis.begin(), 2).key()));
    if (!content.contains("rows")) {
      changes += check_changes(content, "/", resolve);
      continue;
    }
    // One row at a time, and the others' classes only where they are new.
    const Json rows = content["rows"];
    bool is_first = true;
    for (const Json& row : rows) {
      if (!seen.insert(row.at("quantizer").at("class").get<std::string>()).second && !is_first) continue;
      content["rows"] = Json::array({row});
      changes += check_changes(content, is_first ? "/" : "/rows/0", resolve);
      is_first = false;
    }
  }
  CHECK(changes > 3000);
}

namespace {

template <class Base>
int check_classes() {
  int changes = 0;
  for (const std::string& name : Registry<Base>::instance().names()) {
    CAPTURE(name);
    const auto resolve = [](const Json& content) {
      return outcomes_of({[=] { return Registry<Base>::resolve({content.at("part"), kFile, "part"}); }});
    };
    Json defaults = {{"class", name}};
    const std::vector<Outcome> plain = resolve({{"part", defaults}});
    if (!plain[0].error.empty()) {  // some have settings without a default
      CHECK(plain[0].error.find("is missing") != std::string::npos);
      continue;
    }
    changes += check_changes({{"part", plain[0].resolved}}, "/part/", resolve);
  }
  return changes;
}

}  // namespace

TEST_CASE("a setting of any class with a wrong value is refused with its place, or resolves to something else") {
  int changes = 0;
  changes += check_classes<Quantizer>();
  changes += check_classes<Architecture>();
  changes += check_classes<Optimizer>();
  changes += check_classes<Schedule>();
  changes += check_classes<Dataset>();
  changes += check_classes<RatingSource>();
  CHECK(changes > 2000);
}
