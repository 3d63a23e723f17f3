// Layers by name.
#include "nn/layers/layer_class.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/layers/activation.h"
#include "nn/layers/pool.h"
#include "nn/layers/weighted_sum.h"
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
      {"AvgPool2d", R"("kernel": 2)"},  {"Constant", R"("shape": [2])"},           {"ConvTranspose2d", R"("out": 3)"},
      {"Expand", R"("shape": [2])"},    {"Gather", R"("indices": [0])"},           {"GroupNorm", R"("groups": 2)"},
      {"LayerNorm", R"("shape": [4])"}, {"Pad", R"("before": [1], "after": [1])"}, {"Reshape", R"("shape": [-1])"},
      {"Resize", R"("scale": [2, 2])"}, {"Transpose", R"("order": [0])"},          {"Conv2d", R"("out": 3)"},
      {"Linear", R"("out": 3)"},        {"MaxPool2d", R"("kernel": 2)"},           {"PerExample", R"("shape": [2])"},
      {"Pow", R"("exponent": 3)"},      {"Split", R"("parts": 2, "index": 1)"}};
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

TEST_CASE("layers that move numbers read their settings") {
  const auto shape_of = [](const char* config, const Shape& x) { return (*made(config))(Tensor::zeros(x)).shape(); };
  CHECK(shape_of(R"({"class": "Reshape", "shape": [-1, 3, 4]})", {2, 6, 2}) == Shape{2, 3, 4});
  CHECK(shape_of(R"({"class": "Transpose", "order": [0, -1, 1]})", {2, 3, 4}) == Shape{2, 4, 3});
  CHECK(shape_of(R"({"class": "Slice", "dim": 1, "begin": 1, "end": null, "step": 2})", {2, 6}) == Shape{2, 3});
  CHECK(shape_of(R"({"class": "Slice", "dim": 1, "step": -1})", {2, 6}) == Shape{2, 6});
  CHECK(shape_of(R"({"class": "Pad", "before": [0, 1], "after": [0, -2], "mode": "edge"})", {2, 6}) == Shape{2, 5});
  CHECK(shape_of(R"({"class": "Gather", "dim": 0, "indices": [1, 1, 0]})", {2, 6}) == Shape{3, 6});
  CHECK(shape_of(R"({"class": "Expand", "shape": [5, -1, 3]})", {2, 1}) == Shape{5, 2, 3});
  CHECK(shape_of(R"({"class": "Resize", "scale": [2, 0.5]})", {1, 3, 4, 2}) == Shape{1, 6, 2, 2});
  CHECK(shape_of(R"({"class": "Resize", "size": [5, 1], "mode": "linear"})", {1, 3, 4, 2}) == Shape{1, 5, 1, 2});
  CHECK(shape_of(R"({"class": "ReduceMax", "dims": [-2], "keep_dims": false})", {2, 3, 4}) == Shape{2, 4});
  CHECK(shape_of(R"({"class": "GlobalMaxPool2d"})", {2, 3, 4, 5}) == Shape{2, 1, 1, 5});
}

TEST_CASE("settings of layers that move numbers are checked") {
  const auto error = [](const char* config, const Shape& x) {
    return error_of([&] { (*made(config))(Tensor::zeros(x)); });
  };
  CHECK(error(R"({"class": "Reshape", "shape": [-1, -1]})", {2}).find("expected one -1 at the most") !=
        std::string::npos);
  CHECK(error(R"({"class": "Reshape", "shape": [-1, 4]})", {2, 3}).starts_with("Reshape: [2,3] does not become -1x4"));
  CHECK(error(R"({"class": "Expand", "shape": [-1, 4]})", {1})
            .starts_with("Expand: [1] has no dimension for the -1 of -1x4"));
  CHECK(error(R"({"class": "Resize"})", {1, 1, 1, 1}).find("expected a size, or scales") != std::string::npos);
  CHECK(error(R"({"class": "Resize", "size": [4]})", {1, 1, 1, 1}).find("expected a size [height, width]") !=
        std::string::npos);
  CHECK(error(R"({"class": "Pad", "before": [1], "after": []})", {2}).find("1 amounts before, and 0 after") !=
        std::string::npos);
  CHECK(error(R"({"class": "GroupNorm", "groups": 3})", {1, 4}).find("4 channels do not divide into 3 groups") !=
        std::string::npos);
}

TEST_CASE("what moves numbers says so, unless it adds others") {
  CHECK(made(R"({"class": "Pad", "before": [1], "after": [1]})")->effect().kind == Effect::Kind::moves);
  CHECK(made(R"({"class": "Pad", "before": [1], "after": [1], "value": -3})")->effect().kind == Effect::Kind::mixes);
  CHECK(made(R"({"class": "Resize", "scale": [2, 2]})")->effect().kind == Effect::Kind::moves);
  CHECK(made(R"({"class": "Resize", "scale": [2, 2], "mode": "linear"})")->effect().kind == Effect::Kind::averages);
  CHECK(made(R"({"class": "Resize", "scale": [2, 2], "mode": "cubic"})")->effect().kind == Effect::Kind::mixes);
}

TEST_CASE("a constant takes no input, and its value is trained") {
  const ModulePtr constant = made(R"({"class": "Constant", "shape": [2, 3]})");
  CHECK((*constant)().shape() == Shape{2, 3});
  CHECK((*constant)().requires_grad());
  CHECK(error_of([&] { (*constant)(Tensor::scalar(1)); }).starts_with("Constant takes no input, got 1"));
}

TEST_CASE("norms by name have parameters unless they are told not to") {
  const ModulePtr norm = made(R"({"class": "GroupNorm", "groups": 2})");
  CHECK(norm->parameters()[0]->raw().shape() == Shape{4});
  CHECK(norm->describe() == "groups=2, 4, eps=1e-05");
  CHECK(!made(R"({"class": "LayerNorm", "shape": [2, 4], "affine": false})")->parameters()[0]->defined());
  CHECK(made(R"({"class": "LayerNorm", "shape": [2, 4], "eps": 0.1})")->describe() == "[2,4], eps=0.1");
}

TEST_CASE("a transposed convolution is a layer of weighted sums") {
  const ModulePtr layer = made(R"({"class": "ConvTranspose2d", "out": 6, "kernel": [4, 2], "stride": 2, "groups": 2,
                                   "output_padding": [1, 0]})");
  CHECK(layer->describe() == "4, 6, kernel=4x2, stride=2x2, output_padding=1x0, groups=2");
  REQUIRE(layer->weighted_sum());
  const Parameter& weight = layer->weighted_sum()->weight;
  CHECK(weight.raw().shape() == Shape{4, 2, 2, 6});
  CHECK(file_shape(weight.raw().shape(), weight.layout()) == Shape{4, 3, 4, 2});
  CHECK((*layer)(Tensor::zeros({1, 3, 3, 4})).shape() == Shape{1, 9, 6, 6});
}
