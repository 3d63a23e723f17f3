// Classes by name.
#include "core/registry.h"

#include <nlohmann/json.hpp>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using test::error_of;

namespace {

struct Animal {
  static constexpr const char* kRole = "animal";
  virtual ~Animal() = default;
  virtual std::string sound() const = 0;
};

struct DogConfig {
  int64_t volume = 1;
};
void fields(Fields& v, DogConfig& c) { v("volume", c.volume, {.min = 0}); }
struct Dog final : Animal {
  explicit Dog(DogConfig c) : config(c) {}
  std::string sound() const override { return std::string(static_cast<size_t>(config.volume), '!'); }
  DogConfig config;
};

struct CatConfig {};
void fields(Fields&, CatConfig&) {}
struct Cat final : Animal {
  explicit Cat(CatConfig) {}
  std::string sound() const override { return "meow"; }
};

const Registered<Animal, Dog, DogConfig> dog{"Dog"};
const Registered<Animal, Cat, CatConfig> cat{"Cat"};

Config config(const char* text) { return {parse_json(text, "zoo.json"), "zoo.json", "animal"}; }

// A base of its own, as a registry with a duplicate refuses everything.
struct Plant {
  static constexpr const char* kRole = "plant";
  virtual ~Plant() = default;
};
struct Fern final : Plant {
  explicit Fern(CatConfig) {}
};
const Registered<Plant, Fern, CatConfig> fern{"Fern"}, again{"Fern"};

}  // namespace

TEST_CASE("a registered class is made from its config") {
  CHECK(Registry<Animal>::create(config(R"({"class": "Dog", "volume": 3})"))->sound() == "!!!");
  CHECK(Registry<Animal>::create(config(R"({"class": "Cat"})"))->sound() == "meow");
  CHECK(Registry<Animal>::instance().names() == std::vector<std::string>{"Cat", "Dog"});
}

TEST_CASE("a missing or unknown class is an error that lists what there is") {
  const auto refusal = [](const char* text) { return error_of([&] { Registry<Animal>::create(config(text)); }); };
  CHECK(refusal(R"({"class": "Dogg"})") ==
        "zoo.json: animal.class: no animal 'Dogg' (did you mean 'Dog'?); have: Cat, Dog");
  CHECK(refusal("{}") == "zoo.json: animal: 'class' is missing");
  CHECK(refusal(R"({"class": 3})") == "zoo.json: animal.class: expected a string, got 3");
  CHECK(refusal("[]") == "zoo.json: animal: expected an object, got a list");
  CHECK(refusal(R"({"class": "Cat", "volume": 1})") == "zoo.json: animal.volume: unknown key");
  CHECK(error_of([] { Registry<Animal>::resolve(config("{}")); }) == "zoo.json: animal: 'class' is missing");
}

TEST_CASE("a resolved config shows the class and every member") {
  CHECK(Registry<Animal>::resolve(config(R"({"class": "Dog"})")).dump() == R"({"class":"Dog","volume":1})");
}

TEST_CASE("the schema offers every registered class") {
  const Json schema = Registry<Animal>::instance().schema();
  REQUIRE(schema.at("oneOf").size() == 2);
  const Json& of_dog = schema.at("oneOf").at(1);
  CHECK(of_dog.at("properties").at("class").at("const") == "Dog");
  CHECK(of_dog.at("properties").at("volume").at("minimum") == 0.0);
  CHECK(of_dog.at("required") == Json::array({"class"}));
}

TEST_CASE("a class as a member of a config is checked when the config is read") {
  ClassConfig<Animal> animal;
  const auto refusal = [&](const char* text) { return error_of([&] { read_onto(animal, config(text)); }); };
  CHECK(refusal(R"({"class": "Dog", "volume": "loud"})") ==
        "zoo.json: animal.volume: expected an integer, got \"loud\"");
  CHECK(refusal(R"({"class": "Cat", "volume": 1})") == "zoo.json: animal.volume: unknown key");
  read_onto(animal, config(R"({"class": "Dog", "volume": 2})"));
  CHECK(Registry<Animal>::create(animal)->sound() == "!!");
  CHECK(write_config(animal).dump() == R"({"class":"Dog","volume":2})");
}

TEST_CASE("a name registered twice is reported by the first create") {
  CHECK(error_of([] { Registry<Plant>::create({Json{{"class", "Fern"}}, "", ""}); }) == "'Fern' is registered twice");
}
