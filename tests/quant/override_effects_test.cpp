// Every setting of an override is an error or has an effect: all quantizers, all modules, all settings, generated.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "quant/post_train/linear.h"
#include "quant/quantizer.h"
#include "quant/train/fake_quant.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;
using test::error_of;

namespace {

Tensor images(uint64_t seed) { return Tensor::from({2, 4, 4, 3}, test::normal_values(2 * 4 * 4 * 3, seed)); }

// Containers, a batch norm, a shortcut, a product, every activation, pooling, and layers with a bias and without.
struct EveryKind final : UnaryModule {
  std::string_view kind() const override { return "EveryKind"; }
  Child conv1 = child<Conv2d>("conv1", square_conv(3, 4, 3, 1, 1)), bn1 = child<BatchNorm2d>("bn1", 4),
        relu1 = child<ReLU>("relu1"), layer1 = child<Sequential>("layer1"), add = child<EltwiseAdd>("add"),
        relu2 = child<ReLU6>("relu2"), mult = child<EltwiseMult>("mult"), tanh = child<Tanh>("tanh"),
        pool = child<AvgPool2d>("pool", 2), flatten = child<Flatten>("flatten"), fc = child<Linear>("fc", 16, 5);
  EveryKind() {
    layer1.as<Sequential>()->add("conv", std::make_unique<Conv2d>(square_conv(4, 4, 3, 1, 1)));
    layer1.as<Sequential>()->add("sigmoid", std::make_unique<Sigmoid>());
    uint64_t seed = 40;
    for (Parameter* p : all_parameters(*this))
      p->set_raw(
          Tensor::from(p->raw().shape(), test::normal_values(static_cast<size_t>(p->raw().numel()), seed++, 0.4f)));
  }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor a = relu1(bn1(conv1(x)));
    const Tensor b = relu2(add(a, layer1(a)));
    return fc(flatten(pool(tanh(mult(b, a)))));
  }
};

// Values that are worlds apart, so that they differ in what comes out wherever they count.
const std::map<std::string, std::vector<Json>>& settings() {
  static const std::map<std::string, std::vector<Json>> all = {
      {"bits_weights", {nullptr, 2, 5}},
      {"bits_activations", {nullptr, 2, 5}},
      {"bits_bias", {nullptr, 2, 5}},
      {"mode", {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}},
      {"mode/weights", {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}},
      {"mode/activations", {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"}},
      {"per_channel_wts", {false, true}},
      {"ema_decay", {0.0, 0.9}},
      {"act_clip_val", {0.1, 0.7}},
      {"act_clip_init_val", {0.1, 0.7}},
      {"clip_acts", {"NONE", "AVG", "GAUSS"}},
      {"clip_n_stds", {nullptr, 0.5, 2}},
      {"clip_percentile", {nullptr, 60, 90}},
      {"clip_half_range", {false, true}},
      {"scale_approx_mult_bits", {nullptr, 2}},
      {"inputs_quant_auto_fallback", {false, true}},
      {"fpq_module", {nullptr, 16}},
      {"fake", {nullptr, false, true}},
      {"quantize_inputs", {false, true}},
      {"input_overrides", {Json::object(), {{"0", {{"bits_activations", 2}}}}}},
      {"bound", {nullptr, 1}}};
  return all;
}

QuantStats statistics() {
  EveryKind net;
  net.set_training(false);
  return collect_quant_stats(net, [&] {
    net(images(1));
    net(images(2));
  });
}

// What a quantizer made of the net: its modules, and what they compute; or why that can not be computed.
std::string outcome_of(const Json& config) {
  static const QuantStats stats = statistics();
  ModulePtr net = std::make_unique<EveryKind>();
  const auto quantizer = Registry<Quantizer>::create({config, "test.json", "quantizer"});
  auto* post_train = dynamic_cast<PostTrainLinearQuantizer*>(quantizer.get());
  if (post_train) post_train->set_stats(stats);
  quantizer->prepare(net, nullptr, images(1));
  std::string outcome = to_string(*net);
  try {
    if (post_train) net->set_training(false);
    for (const uint64_t seed : {1, 2, 3}) net->call(std::vector{images(seed)});
    net->set_training(false);
    for (const float y : net->call(std::vector{images(4)}).data()) outcome += fmt::format(" {}", y);
  } catch (const Error& e) {
    outcome += e.what();
  }
  return outcome;
}

struct Case {
  Json base;
  std::string pattern, key;
};

// All values of one setting, for one pattern. Says what is wrong, or "".
std::string fault_of(const Case& c, int& accepted) {
  std::set<std::string> outcomes, errors;
  for (const Json& value : settings().at(c.key)) {
    Json config = c.base;
    config["overrides"][c.pattern][Json::json_pointer("/" + c.key)] = value;
    std::string outcome;
    const std::string error = error_of([&] { outcome = outcome_of(config); });
    (outcome.empty() ? errors : outcomes).insert(outcome.empty() ? error : outcome);
  }
  const std::string place = fmt::format("test.json: quantizer.overrides.{}", c.pattern);
  for (const std::string& error : errors)
    if (!error.starts_with(place)) return "an error without its place: " + error;
  accepted += !outcomes.empty();
  // Permissions, which count where an input arrives in float; and half precision, which a grid may hide.
  for (const char* key : {"inputs_quant_auto_fallback", "quantize_inputs", "fpq_module"})
    if (c.key == key) return "";
  if (outcomes.empty() || outcomes.size() > 1) return "";
  return errors.empty() ? "no value changes anything: " + *outcomes.begin() : "";
}

}  // namespace

TEST_CASE("a setting of an override is an error, or has an effect on what it matches") {
  std::vector<std::string> patterns;
  EveryKind net;
  visit_modules(net, [&](Module& module) { patterns.push_back(module.path()); });
  const std::string name = GENERATE(from_range(Registry<Quantizer>::instance().names()));
  std::vector<Json> bases{{{"class", name}, {"bits_weights", 8}, {"bits_activations", 8}}};
  if (name == "PostTrainLinearQuantizer")
    for (const Json& more : {Json{{"clip_acts", "N_STD"}, {"clip_n_stds", 1}}, Json{{"fpq_module", 16}},
                             Json{{"bits_activations", nullptr}}}) {
      bases.push_back(bases[0]);
      bases.back().update(more);
    }
  else
    for (const Json& more : {Json{{"quantized_activations", "inputs"}}, Json{{"bits_activations", nullptr}},
                             Json{{"bits_weights", nullptr}}}) {
      bases.push_back(bases[0]);
      bases.back().update(more);
    }
  int accepted = 0;
  for (const Json& base : bases)
    for (const std::string& pattern : patterns)
      for (const auto& [key, values] : settings()) {
        const std::string fault = fault_of({base, pattern, key}, accepted);
        INFO(base.dump() << ", overrides of '" << pattern << "', " << key << ": " << fault);
        CHECK(fault.empty());
      }
  CHECK(accepted >= 10);
}

TEST_CASE("an override of a container names the pattern that reaches what is below") {
  const std::string name = GENERATE(from_range(Registry<Quantizer>::instance().names()));
  for (const char* key : {"bits_weights", "bits_activations"})
    for (const Json& value : {Json(nullptr), Json(8)}) {
      const Json config = {{"class", name}, {"overrides", {{"layer1", {{key, value}}}}}};
      const std::string error = error_of([&] { outcome_of(config); });
      CAPTURE(name, key, error);
      CHECK(
          error.starts_with(fmt::format("test.json: quantizer.overrides.layer1.{}: no module that this matches "
                                        "(Sequential) takes this setting",
                                        key)));
      CHECK(error.ends_with("; 'layer1.*' matches what is below, which does"));
    }
}

TEST_CASE("a container beside a layer is an error, too, unless what is below it is matched") {
  const auto with = [](const char* pattern, const Json& bits) {
    const Json config = {{"class", "LSQQuantizer"}, {"overrides", {{pattern, {{"bits_weights", bits}}}}}};
    return error_of([&] { outcome_of(config); });
  };
  for (const Json& bits : {Json(nullptr), Json(8)}) {
    CHECK(
        with("layer1|fc", bits) ==
        "test.json: quantizer.overrides.layer1|fc.bits_weights: matches the container 'layer1', but nothing below it; "
        "'(layer1|fc).*' matches what is below, which does");
    for (const char* pattern : {"layer1.*|fc", ".*", "(layer1|fc).*", "layer.+"})
      CHECK(with(pattern, bits) == "no error");
  }
}

TEST_CASE("null bits beside a setting with an effect may have none") {
  const Json none = {{"bits_weights", nullptr}, {"bits_activations", nullptr}, {"bits_bias", nullptr}};
  for (const std::string& name : Registry<Quantizer>::instance().names())
    for (const char* path : {"conv1", "tanh", "fc", "layer1.*"}) {
      CAPTURE(name, path);
      CHECK_NOTHROW(outcome_of({{"class", name}, {"overrides", {{path, none}}}}));
    }
  CHECK_NOTHROW(outcome_of({{"class", "PostTrainLinearQuantizer"}, {"overrides", {{"add", none}}}}));
}

TEST_CASE("an override that earlier ones leave nothing to is an error with one of them") {
  const Json config = {{"class", "LSQQuantizer"},
                       {"bits_weights", 4},
                       {"overrides", {{"conv.*|fc", {{"bits_weights", 3}}}, {"fc|layer1.*", {{"bits_weights", 8}}}}}};
  CHECK_NOTHROW(outcome_of(config));  // layer1.conv is left
  Json none_left = config;
  none_left["overrides"] = {{"conv.*|fc", {{"bits_weights", 3}}}, {"f.|conv1", {{"bits_weights", 8}}}};
  CHECK(error_of([&] { outcome_of(none_left); }) ==
        "test.json: quantizer.overrides.f.|conv1.bits_weights: no module that this matches (Conv2d, Linear) takes this "
        "setting; they take: none; 'conv1' goes by 'conv.*|fc', which comes first");
}

TEST_CASE("alternatives are put in parentheses for what is below them") {
  const Json config = {{"class", "LSQQuantizer"}, {"overrides", {{"layer1|layer9", {{"bits_weights", nullptr}}}}}};
  const std::string error = error_of([&] { outcome_of(config); });
  CHECK(error.ends_with("; '(layer1|layer9).*' matches what is below, which does"));
}

TEST_CASE("a batch norm that is folded takes no settings, null ones neither") {
  for (const char* key : {"bits_weights", "bits_activations", "clip_acts"}) {
    const Json config = {{"class", "PostTrainLinearQuantizer"}, {"overrides", {{"bn1", {{key, nullptr}}}}}};
    const std::string error = error_of([&] { outcome_of(config); });
    CAPTURE(error);
    CHECK(error.starts_with(fmt::format("test.json: quantizer.overrides.bn1.{}: no module", key)));
  }
}
