// Layers by name.
#include "nn/layers/layer_class.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/layers/activation.h"
#include "nn/layers/pool.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"

using namespace qgrad;
using test::error_of;

namespace {

ModulePtr made(const char* config, const Shape& input = {1, 8, 8, 4}) {
  return Registry<LayerClass>::create(Config::parse(config, ""))->make([&] { return input; });
}

}  // namespace

TEST_CASE("every layer class makes modules whose kind is its name") {
  // What the classes that need settings are given.
  const std::map<std::string, std::string> settings{
      {"AvgPool2d", R"("kernel": 2)"}, {"Conv2d", R"("out": 3)"},   {"Linear", R"("out": 3)"},
      {"MaxPool2d", R"("kernel": 2)"}, {"Pow", R"("exponent": 3)"}, {"Split", R"("parts": 2, "index": 1)"}};
  for (const std::string& name : Registry<LayerClass>::instance().names()) {
    const auto given = settings.find(name);
    const std::string rest = given == settings.end() ? "" : ", " + given->second;
    INFO(name);
    CHECK(made((R"({"class": ")" + name + "\"" + rest + "}").c_str())->kind() == name);
  }
}

TEST_CASE("a pool's stride is its kernel where nobody says otherwise") {
  CHECK(made(R"({"class": "MaxPool2d", "kernel": [2, 3]})")->describe() == "kernel=2x3, stride=2x3");
  CHECK(made(R"({"class": "AvgPool2d", "kernel": 3, "stride": 0})")->describe() == "kernel=3x3, stride=3x3");
  CHECK(made(R"({"class": "MaxPool2d", "kernel": 3, "stride": [2, 1], "padding": 1, "padding_end": [0, 1],
                 "dilation": 2, "ceil": true})")
            ->describe() == "kernel=3x3, stride=2x1, padding=1x1 to 0x1, dilation=2x2, ceil");
  CHECK(error_of([] { made(R"({"class": "MaxPool2d"})"); }).find("kernel") != std::string::npos);
}

TEST_CASE("a clamp has one bound, two or none") {
  const auto effect = [](const char* config) { return made(config)->effect(); };
  CHECK(effect(R"({"class": "Clamp", "low": 0})") == ReLU().effect());
  CHECK(effect(R"({"class": "Clamp", "low": 0, "high": 6})") == ReLU6().effect());
  CHECK(effect(R"({"class": "Clamp", "high": 1})") == Effect::clamping({.high = 1}));
  CHECK(error_of([] {
          made(R"({"class": "Clamp", "low": 1, "high": 0})");
        }).find("the lower bound 1 is above the upper bound 0") != std::string::npos);
}

TEST_CASE("functions say what they give") {
  // The bounds that an effect states, and what the function gives on a fine grid.
  for (const char* config :
       {R"({"class": "HardSwish"})", R"({"class": "SiLU"})", R"({"class": "Softplus"})", R"({"class": "Erf"})",
        R"({"class": "Exp"})", R"({"class": "Abs"})", R"({"class": "LeakyReLU", "slope": -0.5})",
        R"({"class": "LeakyReLU", "slope": 0})", R"({"class": "ELU", "alpha": 0.7})", R"({"class": "HardSigmoid"})",
        R"({"class": "HardSigmoid", "alpha": -0.2, "beta": 0.3})", R"({"class": "GELU"})",
        R"({"class": "GELU", "approximate": "tanh"})", R"({"class": "Pow", "exponent": 4})",
        R"({"class": "Clamp", "low": -0.3})"}) {
    INFO(config);
    const ModulePtr layer = made(config);
    Tensor x = Tensor::empty({24001});
    for (size_t i = 0; i < x.data().size(); ++i) x.mutable_data()[i] = static_cast<float>(i) * 1e-3f - 12;
    const Tensor y = (*layer)(x);
    const auto [low, high] = std::ranges::minmax_element(y.data());
    const Effect effect = layer->effect();
    CHECK(effect.kind == Effect::Kind::applies);
    CHECK(*low >= effect.gives.low - 1e-7f);  // rounded
    CHECK(*low < effect.gives.low + 1e-4f);
    CHECK(*high <= effect.gives.high);
    // Beyond what they tell apart they hardly change.
    for (size_t i = 0; i < y.data().size(); ++i) {
      if (x.data()[i] < effect.tells_apart.low) CHECK(std::fabs(y.data()[i] - y.data().front()) < 5e-3f);
      if (x.data()[i] > effect.tells_apart.high) CHECK(std::fabs(y.data()[i] - y.data().back()) < 5e-3f);
    }
  }
  for (const char* config : {R"({"class": "Log"})", R"({"class": "Neg"})", R"({"class": "LeakyReLU"})",
                             R"({"class": "Pow", "exponent": 3})", R"({"class": "PReLU", "features": 1})"})
    CHECK(made(config)->effect() == Effect{.kind = Effect::Kind::applies});
  CHECK(made(R"({"class": "PReLU"})")->effect().kind == Effect::Kind::mixes);
}

TEST_CASE("PReLU has a slope for each channel of its input, or one") {
  CHECK(made(R"({"class": "PReLU"})", {1, 5, 5, 6})->parameters()[0]->raw().shape() == Shape{6});
  CHECK(made(R"({"class": "PReLU", "features": 1})")->describe() == "1");
}
