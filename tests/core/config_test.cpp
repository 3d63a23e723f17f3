// Typed configs: what is read, what is refused and in which words, what is written back, and the schema.
#include "core/config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using test::error_of;

namespace {

enum class Mode { symmetric, asymmetric_signed };
std::vector<std::pair<std::string, Mode>> enum_names(Mode*) {
  return {{"SYMMETRIC", Mode::symmetric}, {"ASYMMETRIC_SIGNED", Mode::asymmetric_signed}};
}

struct Step {
  int64_t epoch = 0;
  float lr = 0;
};
void fields(Fields& v, Step& s) {
  v("epoch", s.epoch, {.help = "from here on", .min = 0, .required = true});
  v("lr", s.lr);
}

struct Base {
  bool verbose = false;
};
void fields(Fields& v, Base& b) { v("verbose", b.verbose); }

struct Training : Base {
  float lr = 0.1f;
  int8_t bits = 8;
  uint64_t seed = 1;
  std::string name = "run";
  Mode mode = Mode::symmetric;
  std::optional<float> clip;
  std::optional<std::optional<int64_t>> bits_bias;
  std::vector<Step> schedule;
  Config model;
};
void fields(Fields& v, Training& t) {
  fields(v, static_cast<Base&>(t));
  v("lr", t.lr, {.help = "learning rate", .min = 0, .above_min = true});
  v("bits", t.bits, {.min = 1, .max = 32});
  v("seed", t.seed);
  v("name", t.name);
  v("mode", t.mode);
  v("clip", t.clip);
  v("bits_bias", t.bits_bias);
  v("schedule", t.schedule);
  v("model", t.model);
}

Training read(const char* text) { return read_config<Training>({parse_json(text, "train.json"), "train.json", ""}); }
std::string refusal(const char* text) {
  return error_of([&] { read(text); });
}

}  // namespace

TEST_CASE("a config reads every kind of value and keeps defaults of absent ones") {
  const Training t =
      read(R"({"verbose": true, "lr": 0.05, "mode": "ASYMMETRIC_SIGNED", "clip": 2, "seed": 18446744073709551615,
                              "schedule": [{"epoch": 3, "lr": 0.01}, {"epoch": 5}], "model": {"class": "ResNet"}})");
  CHECK(t.verbose);
  CHECK(t.lr == 0.05f);
  CHECK(t.bits == 8);
  CHECK(t.seed == std::numeric_limits<uint64_t>::max());
  CHECK(t.mode == Mode::asymmetric_signed);
  CHECK(t.clip == 2.0f);
  REQUIRE(t.schedule.size() == 2);
  CHECK(t.schedule[0].lr == 0.01f);
  CHECK(t.schedule[1].epoch == 5);
  CHECK(t.model.where("class") == "train.json: model.class");
}

TEST_CASE("null and absent are told apart where the config asks for it") {
  CHECK(!read("{}").bits_bias.has_value());
  const Training null = read(R"({"bits_bias": null, "clip": null})");
  REQUIRE(null.bits_bias.has_value());
  CHECK(!null.bits_bias->has_value());
  CHECK(!null.clip.has_value());
  CHECK(read(R"({"bits_bias": 4})").bits_bias == std::optional<std::optional<int64_t>>(4));
}

TEST_CASE("config errors say where, what was expected and what was there") {
  CHECK(refusal(R"({"bitz": 4})") == "train.json: bitz: unknown key (did you mean 'bits'?)");
  CHECK(refusal(R"({"zebra": 4})") == "train.json: zebra: unknown key");
  CHECK(refusal(R"({"bits": "three"})") == "train.json: bits: expected an integer, got \"three\"");
  CHECK(refusal(R"({"bits": 3.5})") == "train.json: bits: expected an integer, got 3.5");
  CHECK(refusal(R"({"lr": "x"})") == "train.json: lr: expected a number, got \"x\"");
  CHECK(refusal(R"({"verbose": 1})") == "train.json: verbose: expected true or false, got 1");
  CHECK(refusal(R"({"name": 1})") == "train.json: name: expected a string, got 1");
  CHECK(refusal(R"({"schedule": {}})") == "train.json: schedule: expected a list, got an object");
  CHECK(refusal(R"({"schedule": [{"epoch": 1}, {"epoch": []}]})") ==
        "train.json: schedule[1].epoch: expected an integer, got a list");
  CHECK(refusal(R"({"schedule": [{"lr": 1}]})") == "train.json: schedule[0]: 'epoch' is missing");
  CHECK(refusal(R"({"schedule": [{"epoch": 1, "Lr": 1}]})") ==
        "train.json: schedule[0].Lr: unknown key (did you mean 'lr'?)");
  CHECK(refusal(R"({"mode": "SYMETRIC"})") ==
        "train.json: mode: expected one of SYMMETRIC, ASYMMETRIC_SIGNED; got \"SYMETRIC\" (did you mean 'SYMMETRIC'?)");
  CHECK(refusal("[]") == "train.json: expected an object, got a list");
}

TEST_CASE("numbers outside of their bounds or their type are refused") {
  CHECK(refusal(R"({"bits": 0})") == "train.json: bits: expected 1 to 32, got 0");
  CHECK(refusal(R"({"bits": 33})") == "train.json: bits: expected 1 to 32, got 33");
  CHECK(refusal(R"({"lr": 0})") == "train.json: lr: expected more than 0, got 0");
  CHECK(refusal(R"({"lr": 1e300})") ==
        "train.json: lr: expected 0 or a number of size 1e-45 to 3.4028235e+38, got 1e+300");
  CHECK(refusal(R"({"lr": 1e39})").find("got 1e+39") != std::string::npos);
  CHECK(refusal(R"({"lr": 1e-60})") ==
        "train.json: lr: expected 0 or a number of size 1e-45 to 3.4028235e+38, got 1e-60");
  CHECK(read(R"({"lr": 1e-40})").lr > 0);
  CHECK(refusal(R"({"seed": -1})") == "train.json: seed: expected an integer from 0 to 18446744073709551615, got -1");
  CHECK(refusal(R"({"seed": 18446744073709551616})") ==
        "train.json: seed: expected an integer from 0 to 18446744073709551615, got 1.8446744073709552e+19");
  CHECK(refusal(R"({"seed": 1e20})").find("from 0 to 18446744073709551615, got 1e+20") != std::string::npos);
  CHECK(refusal(R"({"seed": 1.5})") == "train.json: seed: expected an integer, got 1.5");
  CHECK(refusal(R"({"seed": 3.0})") == "train.json: seed: expected an integer, got 3.0");
  CHECK(refusal(R"({"bits_bias": 9223372036854775808})") ==
        "train.json: bits_bias: expected an integer from -9223372036854775808 to 9223372036854775807, got "
        "9223372036854775808");
  CHECK(refusal(R"({"bits": 4294967297})") == "train.json: bits: expected 1 to 32, got 4294967297");
  CHECK(refusal(R"({"schedule": [{"epoch": -1}]})") == "train.json: schedule[0].epoch: expected at least 0, got -1");
}

TEST_CASE("a written config reads back to itself and shows floats in their shortest form") {
  const Training t =
      read(R"({"lr": 0.05, "mode": "ASYMMETRIC_SIGNED", "clip": 1.5, "schedule": [{"epoch": 3, "lr": 0.1}]})");
  const Json json = write_config(t);
  CHECK(json.at("lr").dump() == "0.05");
  CHECK(json.at("mode") == "ASYMMETRIC_SIGNED");
  CHECK(json.at("schedule").dump() == R"([{"epoch":3,"lr":0.1}])");
  CHECK(json.at("verbose") == false);
  CHECK(!json.contains("bits_bias"));
  CHECK(write_config(read(R"({"clip": null})")).at("clip").is_null());
  CHECK(write_config(read(R"({"bits_bias": null})")).at("bits_bias").is_null());
  Json again = json;
  again.erase("model");
  CHECK(write_config(read_config<Training>({again, "", ""})).at("lr") == json.at("lr"));
}

TEST_CASE("the schema lists types, bounds, defaults and required keys") {
  const Json schema = schema_of<Training>();
  CHECK(schema.at("additionalProperties") == false);
  const Json& properties = schema.at("properties");
  CHECK(properties.at("lr") ==
        Json{{"type", "number"}, {"exclusiveMinimum", 0.0}, {"description", "learning rate"}, {"default", 0.1}});
  CHECK(properties.at("bits").at("maximum") == 32.0);
  CHECK(properties.at("mode").at("enum") == Json::array({"SYMMETRIC", "ASYMMETRIC_SIGNED"}));
  CHECK(properties.at("clip").at("anyOf").at(1).at("type") == "null");
  CHECK(properties.at("schedule").at("items").at("required") == Json::array({"epoch"}));
  CHECK(keys_of<Step>() == std::vector<std::string>{"epoch", "lr"});
}

TEST_CASE("--set changes any value of a config") {
  Config config{parse_json(R"({"optimizer": {"lr": 0.1}, "schedule": [{"epoch": 1}, {"epoch": 2}],
                               "overrides": {"layer1.0.conv1": {"bits": 8}}})",
                           "x.json"),
                "x.json", ""};
  set_config_value(config, "optimizer.lr=0.05");
  set_config_value(config, "optimizer.nesterov=true");
  set_config_value(config, "schedule[1].epoch=7");
  set_config_value(config, "schedule.0.epoch=5");
  set_config_value(config, "/overrides/layer1.0.conv1/bits=4");
  set_config_value(config, "name=first try");
  set_config_value(config, "model.class=ResNet20");
  set_config_value(config, "note=a=b");
  CHECK(config.json() ==
        parse_json(R"({"optimizer": {"lr": 0.05, "nesterov": true}, "schedule": [{"epoch": 5}, {"epoch": 7}],
                                       "overrides": {"layer1.0.conv1": {"bits": 4}}, "name": "first try",
                                       "model": {"class": "ResNet20"}, "note": "a=b"})",
                   ""));
}

TEST_CASE("what is merged over an object changes, adds and takes away, and a null that takes nothing away is refused") {
  Json object = parse_json(R"({"lr": 0.1, "schedule": {"class": "cosine", "warmup": 2}, "list": [1, 2]})", "");
  const auto merge = [&](const char* changes) { merge_over(object, {parse_json(changes, ""), "x.json", "quick"}); };
  merge(R"({"lr": null, "schedule": {"warmup": 3, "class": null}, "list": [{"a": null}], "data": {"images": 5}})");
  CHECK(object == parse_json(R"({"schedule": {"warmup": 3}, "list": [{"a": null}], "data": {"images": 5}})", ""));
  CHECK(error_of([&] { merge(R"({"schedule": {"warmpu": null}})"); }) ==
        "x.json: quick.schedule.warmpu: null takes away what is there, and there is none (did you mean 'warmup'?)");
}

TEST_CASE("--set refuses what leads nowhere") {
  Config config{parse_json(R"({"lr": 0.1, "list": [1, 2]})", "x.json"), "x.json", ""};
  const auto refused = [&](const char* assignment) { return error_of([&] { set_config_value(config, assignment); }); };
  CHECK(refused("lr") == "--set lr: expected KEY=VALUE");
  CHECK(refused("=1") == "--set =1: expected KEY=VALUE");
  CHECK(refused("a..b=1") == "--set a..b=1: an empty key");
  CHECK(refused("lr.x=1") == "--set lr.x=1: 'x' would be a member of 0.1");
  CHECK(refused("list[2]=1") == "--set list[2]=1: '2' is no position in a list of 2");
  CHECK(refused("list.x=1") == "--set list.x=1: 'x' is no position in a list of 2");
  std::string deep = "a";
  for (int i = 0; i < 100'000; ++i) deep += ".a";
  CHECK_THAT(refused((deep + "=1").c_str()), Contains("100001 keys, at most 100 stand in one another"));
  CHECK(config.json() == parse_json(R"({"lr": 0.1, "list": [1, 2]})", ""));
}

TEST_CASE("a placed struct knows where it stood, and reads, writes and describes itself as it would without") {
  const Config list{parse_json(R"([{"epoch": 1}, {"epoch": 2, "lr": 0.5}])", ""), "train.json", "schedule"};
  std::vector<Placed<Step>> steps;
  read_onto(steps, list);
  CHECK(steps.at(1).place.where("lr") == "train.json: schedule[1].lr");
  CHECK(steps.at(1).lr == 0.5f);
  CHECK(write_config(steps).dump() == R"([{"epoch":1,"lr":0},{"epoch":2,"lr":0.5}])");
  CHECK(schema_of<Placed<Step>>() == schema_of<Step>());
}

TEST_CASE("what goes wrong after reading gets the config's place, once") {
  const Config config{Json(), "train.json", "optimizer"};
  const auto error = [&](const char* what) { return error_of([&] { placed_at(config, [&] { fail("{}", what); }); }); };
  CHECK(error("too large") == "train.json: optimizer: too large");
  CHECK(error("train.json: optimizer.lr: too large") == "train.json: optimizer.lr: too large");
  CHECK(placed_at(config, [] { return 3; }) == 3);
}

TEST_CASE("members of a config know where they stand") {
  const Config config{parse_json(R"({"quantizer": {"class": "X"}})", ""), "q.json", ""};
  CHECK(config.at("quantizer").at("class").where() == "q.json: quantizer.class");
  CHECK(error_of([&] { config.at("quantizer").at("bits"); }) == "q.json: quantizer: 'bits' is missing");
  CHECK(Config{Json(), "", ""}.where() == "config");
}
