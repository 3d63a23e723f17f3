// Reading and writing JSON files, and near misses of words.
#include "core/json.h"

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"

using namespace qgrad;
using namespace qgrad::test;

TEST_CASE("a syntax error is reported with file, line and column") {
  const std::string message = error_of([] { parse_json("{\n  \"a\": 1,\n  \"b\": }\n", "x.json"); });
  CHECK(message.starts_with("x.json:3:8: not valid JSON: "));
  CHECK(error_of([] { parse_json("", "x.json"); }).starts_with("x.json:1:"));
  CHECK(error_of([] { parse_json("{\"a\": 1} 2", "x.json"); }).starts_with("x.json:1:10: not valid JSON"));
  CHECK(error_of([] { parse_json("{\"a\": \"\xff\"}", "x.json"); }).starts_with("x.json:1:"));
}

TEST_CASE("a key that stands twice in one object is refused, in two objects it is not") {
  CHECK(error_of([] { parse_json(R"({"a": {"lr": 1, "lr": 2}})", "x.json"); }) == "x.json: a.lr: the key stands twice");
  CHECK(error_of([] { parse_json(R"([1, {"rows": [{"a": []}, {"b": {"c": 0}, "b": 1}]}])", "x.json"); }) ==
        "x.json: [1].rows[1].b: the key stands twice");
  CHECK(parse_json(R"({"a": {"lr": 1}, "b": {"lr": 2}, "c": [{"lr": 3}, {"lr": 4}]})", "x.json").size() == 3);
}

TEST_CASE("a number beyond double's range is an Error like any other") {
  const auto refusal = [](const char* text) { return error_of([&] { parse_json(text, "x.json"); }); };
  CHECK(refusal(R"({"lr": 1e999})") == "x.json: lr: the number is too large for a double");
  CHECK(refusal(R"({"mean": [0.5, [1], -1e400]})") == "x.json: mean[2]: the number is too large for a double");
  CHECK(refusal("1e400") == "x.json: the number is too large for a double");
}

TEST_CASE("brackets beyond the depth allowed are refused with their place, and only brackets count") {
  const auto nested = [](int depth) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += i % 2 == 0 ? "[" : "{\"a\":";
    text += "0";
    for (int i = depth; i-- > 0;) text += i % 2 == 0 ? "]" : "}";
    return text;
  };
  CHECK_NOTHROW(parse_json(nested(100), "x.json"));
  CHECK(error_of([&] { parse_json("// [\n" + nested(100 + 1), "x.json"); }) ==
        fmt::format("x.json:2:{}: nested too deep: at most 100 brackets may be open at once", 50 + 50 * 5 + 1));
  for (const char* bracket : {"[", "{\"a\":", "[{\"a\":", "[0,"}) {
    std::string text;
    for (int i = 0; i < 100'000; ++i) text += bracket;
    CHECK_THAT(error_of([&] { parse_json(text, "x.json"); }), Contains("nested too deep"));
  }
  const std::string brackets(200, '[');
  CHECK(
      parse_json("[\"" + brackets + R"(\"[\\", 1])" + " // " + brackets + "\n/* " + brackets + "*/", "x.json").size() ==
      2);
  std::string flat = "[";
  for (int i = 0; i < 1000; ++i) flat += "[{}],";
  CHECK(parse_json(flat + "0]", "x.json").size() == 1001);
}

TEST_CASE("keys keep their order, and comments are allowed") {
  const Json json = parse_json("// what this is\n{\"z\": 1, \"a\": 2, \"m\": 3}", "x.json");
  std::string order;
  for (const auto& [key, value] : json.items()) order += key;
  CHECK(order == "zam");
}

TEST_CASE("files that cannot be read say why") {
  const TemporaryFolder folder;
  const auto missing = folder.path() / "missing.json";
  CHECK(error_of([&] { read_json(missing); }) == missing.string() + ": cannot open: No such file or directory");
  CHECK(error_of([&] { read_json(folder.path()); }) == folder.path().string() + ": is a folder, expected a JSON file");
}

TEST_CASE("text that is not UTF-8 is written with replacement characters") {
  const TemporaryFolder folder;
  write_json(folder.path() / "x.json", Json{{"name", "caf\xe9"}});
  CHECK(read_json(folder.path() / "x.json").at("name") == "caf\xef\xbf\xbd");
}

TEST_CASE("the nearest word is suggested only where one is near") {
  const std::vector<std::string> keys{"bits_weights", "bits_activations", "lr"};
  CHECK(did_you_mean("bits_weigths", keys) == " (did you mean 'bits_weights'?)");
  CHECK(did_you_mean("momentum", keys).empty());
  CHECK(nearest("Lr", keys) == "lr");
  CHECK(nearest("x", {}).empty());
}

TEST_CASE("JSON is written indented, with lists of plain values on one line") {
  const Json value = {{"name", "caf\xe9"},
                      {"counts", {1, 2, 3}},
                      {"rows", Json::array({{{"a", nullptr}}, {1}})},
                      {"none", Json::object()}};
  const std::string text =
      "{\n  \"name\": \"caf\xef\xbf\xbd\",\n  \"counts\": [1,2,3],\n  \"rows\": [\n    {\n      \"a\": null\n    },\n  "
      "  [1]\n  ],\n"
      "  \"none\": {}\n}\n";
  CHECK(json_text(value) == text);
  CHECK(parse_json(text, "text").at("rows") == value.at("rows"));
}
