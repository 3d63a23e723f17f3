// Preparing models: overrides, replacement, weight transforms, and what the errors say.
#include "quant/quantizer.h"

#include <nlohmann/json.hpp>

#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "nn/optim/sgd.h"
#include "quant/overrides.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace quantizer_test {

using namespace qgrad;
using test::error_of;

namespace {

// Stands for a module that was replaced, or a parameter's transform.
struct Marker final : UnaryModule {
  Marker(const Site& s, ModulePtr module) : bits(s.bits), settings(s.settings.json()) {
    if (module) wrapped = std::make_unique<Child>(*this, "", std::move(module));
  }
  std::string_view kind() const override { return "Marker"; }
  Bits bits;
  Json settings;
  std::unique_ptr<Child> wrapped;
  Parameter learned = parameter("learned", Tensor::scalar(1));

 protected:
  Tensor forward(const Tensor& x) override { return wrapped ? (*wrapped)(x) : x; }
};

// Marks ReLUs (setting "bound") and weights of Linear layers (setting "per_channel_wts").
class MarkingQuantizer final : public Quantizer {
 public:
  template <class C>
  explicit MarkingQuantizer(C config) : Quantizer(std::move(config)) {
    replacement_factory["ReLU"] =
        Replacement([](const Site& site,
                       ModulePtr module) -> ModulePtr { return std::make_unique<Marker>(site, std::move(module)); },
                    {"bound"});
    replacement_factory["ReLU"].counts_without_bits = true;
    weight_settings = {"per_channel_wts"};
  }
  bool adds_group = false;

 protected:
  ModulePtr weight_transform(const Site& site, Parameter&, int) override {
    return std::make_unique<Marker>(site, nullptr);
  }
  std::vector<ParamGroup> param_groups(Module& model) override {
    if (!adds_group) return {};
    ParamGroup group{.name = "learned", .weight_decay = 0.5f};
    for (Parameter* p : all_parameters(model))
      if (p->name() == "learned") group.parameters.push_back(p);
    return {group};
  }
};

ModulePtr net() {
  auto inner = std::make_unique<Sequential>();
  inner->add("fc", std::make_unique<Linear>(4, 4)).add("relu", std::make_unique<ReLU>());
  auto model = std::make_unique<Sequential>();
  model->add("fc1", std::make_unique<Linear>(4, 4)).add("relu1", std::make_unique<ReLU>());
  model->add("layer1", std::move(inner));
  model->add("submodule", std::make_unique<Sequential>());
  model->add("fc2", std::make_unique<Linear>(4, 2, /*bias=*/false));
  return model;
}

QuantizerConfig config_with(const char* overrides) {
  return {.bits_activations = 8,
          .bits_weights = 6,
          .overrides = {Json::parse(overrides), "net.json", "quantizer.overrides"}};
}

struct Outcome {
  ModulePtr model = net();
  std::unique_ptr<MarkingQuantizer> quantizer;
  template <class C>
  explicit Outcome(C config) : quantizer(std::make_unique<MarkingQuantizer>(std::move(config))) {}
  Outcome& prepare(Optimizer* optimizer = nullptr) {
    quantizer->prepare(model, optimizer, Tensor::zeros({1, 4}));
    return *this;
  }
  const Marker* at(std::string_view path) const { return dynamic_cast<Marker*>(find_module(*model, path)); }
  const Marker* transform_of(std::string_view path) const {
    for (const Parameter* p : all_parameters(*model))
      if (p->path() == path) return dynamic_cast<Marker*>(p->transform());
    return nullptr;
  }
};
Outcome outcome(const char* overrides) {
  Outcome result(config_with(overrides));
  result.prepare();
  return result;
}
std::string overrides_error(const char* overrides) {
  return error_of([&] { outcome(overrides); });
}

QuantAwareTrainConfig of_inputs(const char* overrides) {
  return {config_with(overrides), QuantizedActivations::inputs};
}

}  // namespace

TEST_CASE("without overrides every module gets the defaults") {
  const Outcome o = outcome("{}");
  REQUIRE(o.at("relu1"));
  CHECK(o.at("relu1")->bits == Bits{8, {}, {}});
  CHECK(o.at("layer1.relu"));
  REQUIRE(o.transform_of("layer1.fc.weight"));
  CHECK(o.transform_of("layer1.fc.weight")->bits == Bits{{}, 6, {}});
  CHECK_FALSE(o.transform_of("fc1.bias"));
  CHECK(o.transform_of("fc2.weight"));
}

TEST_CASE("null bits mean not quantized, absent ones are inherited") {
  const Outcome o =
      outcome(R"({"relu1": {"bits_activations": null}, "fc1": {"bits_bias": 16}, "fc2": {"bits_weights": null}})");
  CHECK_FALSE(o.at("relu1"));
  CHECK(o.transform_of("fc1.weight")->bits == Bits{{}, 6, 16});
  CHECK(o.transform_of("fc1.bias"));
  CHECK_FALSE(o.transform_of("fc2.weight"));
}

TEST_CASE("the first and the last layer, and what the last one reads, can have bits of their own") {
  QuantizerConfig config = config_with(R"({"fc1": {"bits_weights": 5}})");
  config.bits_first_last = 16;
  Outcome o(config);
  o.prepare();
  CHECK(o.transform_of("fc1.weight")->bits == Bits{{}, 5, {}});  // an override is stronger
  CHECK(o.transform_of("layer1.fc.weight")->bits == Bits{{}, 6, {}});
  CHECK(o.transform_of("fc2.weight")->bits == Bits{{}, 16, {}});
  CHECK(o.at("relu1")->bits == Bits{8, {}, {}});
  CHECK(o.at("layer1.relu")->bits == Bits{16, {}, {}});
  Outcome without_overrides(QuantizerConfig{.bits_activations = 8, .bits_weights = 6, .bits_first_last = 16});
  CHECK(without_overrides.prepare().transform_of("fc1.weight")->bits == Bits{{}, 16, {}});
}

TEST_CASE("what layers read can be quantized in place of what activations give") {
  Outcome o(of_inputs(R"({"layer1\\.fc": {"bits_activations": 3, "bound": 2}})"));
  o.prepare();
  for (const char* relu : {"relu1", "layer1.relu"}) CHECK(find_module(*o.model, relu)->kind() == "ReLU");
  CHECK_FALSE(find_module(*o.model, "fc1.input_quant"));  // it reads the model's input
  REQUIRE(o.at("layer1.fc.input_quant"));
  CHECK(o.at("layer1.fc.input_quant")->bits == Bits{3, 6, {}});
  CHECK(o.at("layer1.fc.input_quant")->settings == Json{{"bound", 2}});
  REQUIRE(o.at("fc2.input_quant"));
  CHECK(o.at("fc2.input_quant")->bits == Bits{8, 6, {}});
  for (const char* weight : {"fc1.weight", "layer1.fc.weight", "fc2.weight"}) CHECK(o.transform_of(weight));
  for (const Quantizer::Resolved& r : o.quantizer->resolved())
    CHECK(r.bits.activations.has_value() == (r.path == "layer1.fc" || r.path == "fc2"));
}

TEST_CASE("bits of the first and the last layer are those of their inputs, too, where inputs are quantized") {
  QuantAwareTrainConfig config = of_inputs("{}");
  config.bits_first_last = 16;
  Outcome o(config);
  o.prepare();
  CHECK(o.at("layer1.fc.input_quant")->bits == Bits{8, 6, {}});
  CHECK(o.at("fc2.input_quant")->bits == Bits{16, 16, {}});
}

TEST_CASE("a layer's input can be left alone") {
  Outcome o(of_inputs(R"({"fc2": {"bits_activations": null}})"));
  o.prepare();
  CHECK(find_module(*o.model, "fc2")->kind() == "Linear");
}

TEST_CASE("an activation is not left alone by its own override where inputs are quantized") {
  const auto error = [](const char* overrides) { return error_of([&] { Outcome(of_inputs(overrides)).prepare(); }); };
  const std::string expected =
      "quantizer.overrides.relu1.bits_activations: no module that this matches (ReLU) takes this setting; they take: "
      "none; with quantized_activations \"inputs\", settings of activations belong to the layers that read them";
  CHECK(error(R"({"relu1": {"bits_activations": 3}})").find(expected) != std::string::npos);
  CHECK(error(R"({"relu1": {"bits_activations": null}})").find(expected) != std::string::npos);
}

TEST_CASE("a layer that is called on different kinds of numbers reads them in float") {
  struct CalledTwice final : UnaryModule {
    explicit CalledTwice(bool both_positive) : both(both_positive) {}
    std::string_view kind() const override { return "CalledTwice"; }
    bool both;
    Child relu = child<ReLU>("relu"), relu2 = child<ReLU>("relu2"), fc = child<Linear>("fc", 4, 4);

   protected:
    Tensor forward(const Tensor& x) override {
      const Tensor y = fc(relu(x));
      return fc(both ? relu2(y) : y);
    }
  };
  for (const bool both_positive : {true, false}) {
    ModulePtr model = std::make_unique<CalledTwice>(both_positive);
    MarkingQuantizer(of_inputs("{}")).prepare(model, nullptr, Tensor::zeros({1, 4}));
    CHECK((find_module(*model, "fc.input_quant") != nullptr) == both_positive);
  }
}

TEST_CASE("a model that reads quantized inputs is refused as one that is quantized already") {
  const QuantAwareTrainConfig config = of_inputs(R"({".*": {"bits_weights": null}})");
  Outcome o(config);
  o.prepare();
  CHECK(error_of([&] {
          MarkingQuantizer(config).prepare(o.model, nullptr, Tensor::zeros({1, 4}));
        }).find("the model is quantized already") != std::string::npos);
}

TEST_CASE("layers read an activation through what hands on its numbers, and not through what changes them") {
  const auto wrapped = [](ModulePtr between) {
    auto model = std::make_unique<Sequential>();
    model->add("relu", std::make_unique<ReLU>()).add("between", std::move(between));
    model->add("conv", std::make_unique<Conv2d>(square_conv(2, 2, 1)));
    ModulePtr root = std::move(model);
    MarkingQuantizer(of_inputs("{}")).prepare(root, nullptr, Tensor::zeros({1, 4, 4, 2}));
    return find_module(*root, "conv.input_quant") != nullptr;
  };
  CHECK(wrapped(std::make_unique<MaxPool2d>(2)));
  CHECK(wrapped(std::make_unique<AvgPool2d>(2)));
  CHECK_FALSE(wrapped(std::make_unique<BatchNorm2d>(2)));
  CHECK_FALSE(wrapped(std::make_unique<Conv2d>(square_conv(2, 2, 1))));
}

TEST_CASE("a key that equals the path wins over earlier expressions") {
  const Outcome o = outcome(R"({"relu.*|layer1\\.relu": {"bits_activations": 2}, "relu1": {"bits_activations": 3}})");
  CHECK(o.at("relu1")->bits.activations == 3);
  CHECK(o.at("layer1.relu")->bits.activations == 2);
}

TEST_CASE("otherwise the first expression that matches the whole path wins") {
  const Outcome o = outcome(R"({".*\\.relu": {"bits_activations": 2}, ".*relu.*": {"bits_activations": 3}})");
  CHECK(o.at("relu1")->bits.activations == 3);
  CHECK(o.at("layer1.relu")->bits.activations == 2);
}

TEST_CASE("capture groups do not shift later patterns") {
  const Outcome o = outcome(
      R"json({"(lay)(er)1\\.(relu)": {"bits_activations": 2}, "relu(1)": {"bits_activations": 3}, "fc.": {"bits_weights": 4}})json");
  CHECK(o.at("layer1.relu")->bits.activations == 2);
  CHECK(o.at("relu1")->bits.activations == 3);
  CHECK(o.transform_of("fc2.weight")->bits.weights == 4);
}

TEST_CASE("alternatives match whole paths") {
  const Outcome o = outcome(R"({"fc1|fc2": {"bits_weights": 3}})");
  CHECK(o.transform_of("fc1.weight")->bits.weights == 3);
  CHECK(o.transform_of("fc2.weight")->bits.weights == 3);
  CHECK(o.transform_of("layer1.fc.weight")->bits.weights == 6);
}

TEST_CASE("paths are matched as they are, also with 'module' in them") {
  CHECK(overrides_error(R"({"sub": {"bits_weights": null}})") ==
        "net.json: quantizer.overrides.sub: matches no module of the model");
  CHECK_NOTHROW(outcome(R"({"fc1|submodule": {"bits_weights": null}})"));
  CHECK(overrides_error(R"({"submodule": {"bits_weights": null}})") ==
        "net.json: quantizer.overrides.submodule.bits_weights: no module that this matches (Sequential) takes this "
        "setting; they take: none");
}

TEST_CASE("an override that matches nothing is an error with the nearest path") {
  CHECK(overrides_error(R"({"fc.*": {"bits_weights": 4}, "layer1.rleu": {"bits_activations": 4}})") ==
        "net.json: quantizer.overrides.layer1.rleu: matches no module of the model (did you mean 'layer1.relu'?)");
}

TEST_CASE("a setting that no matched module takes is an error with the nearest setting") {
  CHECK(
      overrides_error(R"({"fc1": {"per_chanel_wts": true}})") ==
      "net.json: quantizer.overrides.fc1.per_chanel_wts: no module that this matches (Linear) takes this setting (did "
      "you mean 'per_channel_wts'?); they take: bits_bias, bits_weights, per_channel_wts");
  CHECK(overrides_error(R"({"relu1": {"bits_weights": 4}})") ==
        "net.json: quantizer.overrides.relu1.bits_weights: no module that this matches (ReLU) takes this setting; they "
        "take: bits_activations, bound");
  CHECK(overrides_error(R"({"fc2": {"bits_bias": 4}})").find("fc2.bits_bias: no module") != std::string::npos);
}

TEST_CASE("a broad pattern may hold settings of some kinds only") {
  const Outcome o = outcome(R"({".*": {"per_channel_wts": true, "bound": 3}})");
  CHECK(o.at("relu1")->settings == Json{{"bound", 3}});
  CHECK(o.transform_of("fc1.weight")->settings == Json{{"per_channel_wts", true}});
}

TEST_CASE("settings apply without bits, and neither bits nor settings leave a module as it is") {
  const Outcome o =
      outcome(R"({"relu1": {"bits_activations": null, "bound": 2}, "layer1.relu": {"bits_activations": null}})");
  REQUIRE(o.at("relu1"));
  CHECK(o.at("relu1")->bits == Bits{});
  CHECK_FALSE(o.at("layer1.relu"));
}

TEST_CASE("malformed overrides are errors that say where") {
  CHECK(overrides_error(R"({"fc(": {"bits_weights": 4}})")
            .find("net.json: quantizer.overrides.fc(: not a regular expression") == 0);
  CHECK(overrides_error(("{\"" + std::string(100'000, '(') + "\": {\"bits_weights\": 4}}").c_str())
            .ends_with(": a regular expression of 100000 characters, at most 1000 are allowed"));
  CHECK(overrides_error(R"({"fc1": 4})") == "net.json: quantizer.overrides.fc1: expected an object of settings, got 4");
  CHECK(overrides_error(R"({"fc1": {"bits_weights": "four"}})") ==
        "net.json: quantizer.overrides.fc1.bits_weights: expected an integer, got \"four\"");
  CHECK(overrides_error(R"({"fc1": {"bits_weights": 0}})") ==
        "net.json: quantizer.overrides.fc1.bits_weights: expected 1 to 32, got 0");
}

TEST_CASE("the caller's config is not changed") {
  const QuantizerConfig config = config_with(R"({"relu1": {"bits_activations": 3, "bound": 2}})");
  const Json before = config.overrides.json();
  Outcome(config).prepare();
  CHECK(config.overrides.json() == before);
}

TEST_CASE("preparing twice, or a quantized model, is an error") {
  Outcome o = outcome("{}");
  CHECK(error_of([&] { o.prepare(); }).find("prepare can be called only once") == 0);
  MarkingQuantizer another(config_with("{}"));
  CHECK(error_of([&] {
          another.prepare(o.model, nullptr, Tensor::zeros({1, 4}));
        }) == "the model is quantized already: fc1.weight has the transform Marker");
}

TEST_CASE("what was resolved can be listed") {
  const Outcome o = outcome(R"({"relu1": {"bits_activations": 3}, ".*fc": {"per_channel_wts": true}})");
  std::vector<std::string> paths;
  for (const Quantizer::Resolved& r : o.quantizer->resolved()) {
    paths.push_back(r.path);
    if (r.path == "relu1") CHECK((r.bits == Bits{3, {}, {}} && r.pattern == "relu1" && r.kind == "ReLU"));
    if (r.path == "layer1.fc")
      CHECK((r.bits == Bits{{}, 6, {}} && r.pattern == ".*fc" && r.settings.json() == Json{{"per_channel_wts", true}}));
    if (r.path == "fc2") CHECK((!r.pattern && r.settings.json().empty()));
    if (r.path == "layer1") CHECK(r.bits == Bits{});
  }
  CHECK(paths ==
        std::vector<std::string>{"", "fc1", "relu1", "layer1", "layer1.fc", "layer1.relu", "submodule", "fc2"});
}

TEST_CASE("parameter groups of the quantizer are added to the optimizer") {
  Outcome o(config_with("{}"));
  o.quantizer->adds_group = true;
  Sgd sgd({});
  sgd.add_param_group({.name = "default", .parameters = all_parameters(*o.model)});
  o.prepare(&sgd);
  REQUIRE(sgd.param_groups().size() == 2);
  CHECK(sgd.param_groups()[1].name == "learned");
  CHECK(sgd.param_groups()[1].parameters.size() == 5);  // two ReLUs and three weights
}

}  // namespace quantizer_test
