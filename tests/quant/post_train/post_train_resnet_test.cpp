// PostTrainLinearQuantizer against Distiller's on a trained ResNet-20 and real CIFAR-10 images.
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <nlohmann/json.hpp>

#include "nn/models/architecture.h"
#include "quant/post_train/linear.h"
#include "quant/post_train/post_train_golden.h"
#include "quant/resnet_material.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;
using golden::Material;

namespace {

constexpr golden::Tolerance kScales{1e-5, 0};
// "corrected", or with the averages that Distiller computes.
Json statistics(const Json& file, const std::string& which) {
  Json stats = file.at("stats");
  if (which == "upstream")
    for (const auto& [path, averages] : file.at("upstream_avg").items()) {
      const auto put = [](Json& entry, const Json& pair) {
        entry["avg_min"] = pair[0];
        entry["avg_max"] = pair[1];
      };
      put(stats[path]["output"], averages.at("output"));
      for (size_t i = 0; i < averages.at("inputs").size(); ++i) put(stats[path]["inputs"][i], averages["inputs"][i]);
    }
  return golden::stats_object(stats);
}

ModulePtr quantized_resnet(const Material& material, const Json& case_inputs) {
  ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
  load_state(*model, material.trained);
  PostTrainLinearQuantizer quantizer(
      read_config<PostTrainLinearConfig>({golden::post_train_config(case_inputs), "", "quantizer"}));
  const std::string which = case_inputs.at("stats").get<std::string>();
  if (which != "dynamic") quantizer.set_stats(stats_from_json(statistics(material.stats, which), "golden statistics"));
  quantizer.prepare(model, nullptr, material.batch(0, 1));
  model->set_training(false);
  return model;
}

struct IntegerSums {
  double sum = 0, of_magnitudes = 0;
};
IntegerSums sums_of(const Tensor& q) {
  IntegerSums sums;
  for (const float value : q.data()) {
    sums.sum += value;
    sums.of_magnitudes += std::abs(value);
  }
  return sums;
}

void check_numbers(const std::vector<float>& actual, const Json& expected, golden::Tolerance tolerance) {
  const Json list = expected.is_array() ? expected : Json::array({expected});
  REQUIRE(actual.size() == list.size());
  for (size_t i = 0; i < actual.size(); ++i)
    CHECK(golden::difference(actual[i], golden::number(list[i]), tolerance) == "");
}

void check_layer(Module& module, const Json& expected) {
  const auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(&module);
  REQUIRE(wrapper != nullptr);
  CHECK(module.kind() == expected.at("class").get<std::string>());
  const std::optional<QuantSettings>& output = wrapper->quantization().output;
  CHECK((output && output->half_range) == expected.at("clip_half_range").get<bool>());
  if (expected.contains("output")) {
    CHECK(golden::difference(wrapper->output_grid()->scale, golden::number(expected["output"].at("scale")), kScales) ==
          "");
    CHECK(wrapper->output_grid()->zero_point == golden::number(expected["output"].at("zero_point")));
  }
  if (expected.contains("input")) {
    const Grid input = wrapper->quantization().inputs.at(0).params.value();
    CHECK(golden::difference(input.scale, golden::number(expected["input"].at("scale")), kScales) == "");
    CHECK(input.zero_point == golden::number(expected["input"].at("zero_point")));
  }
  if (!expected.contains("weight")) return;
  const auto& layer = dynamic_cast<const RangeLinearQuantParamLayerWrapper&>(*wrapper);
  check_numbers(layer.weight().grid().scale, expected["weight"].at("scale"), kScales);
  check_numbers(layer.weight().grid().zero_point, expected["weight"].at("zero_point"), golden::kExact);
  REQUIRE((expected["weight"].contains("q_sum") || !output));  // of weights alone there are float copies only
  if (!expected["weight"].contains("q_sum")) return;
  const IntegerSums sums = sums_of(layer.weight().q());
  CHECK(sums.sum == expected["weight"].at("q_sum").get<double>());
  CHECK(sums.of_magnitudes == expected["weight"].at("q_abs_sum").get<double>());
}

// Distiller leaves relu2 of every block in place although the addition before it applies the ReLU; it then changes
// nothing in the rows that have no variant. Here it is gone.
bool is_left_over(const std::string& path) { return path.ends_with(".relu2"); }

bool is_static(const Json& golden_case) { return golden_case.at("inputs").at("stats") != "dynamic"; }

bool has_float_layers(const Json& golden_case) {
  for (const Json& entry : golden_case.at("inputs").at("overrides"))
    if (entry[1].contains("bits_weights") && entry[1]["bits_weights"].is_null()) return true;
  return false;
}

// Of equal logits the lower class counts as the larger.
int top1(std::span<const float> logits) { return static_cast<int>(std::ranges::max_element(logits) - logits.begin()); }

}  // namespace

TEST_CASE("post-training quantization of a trained ResNet-20: golden 10, layers and first logits", "[cifar]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  golden::for_each_case("10_resnet20_cifar10_ptq", [&](const Json&, const Json& golden_case) {
    INFO("row " << golden_case.at("id"));
    const ModulePtr model = quantized_resnet(*material, golden_case.at("inputs"));
    const Json& expected = golden_case.at("expected");
    for (const auto& [path, layer] : expected.at("layers").items()) {
      if (is_left_over(path)) continue;
      INFO("layer " << path);
      Module* module = find_module(*model, path);
      REQUIRE(module != nullptr);
      check_layer(*module, layer);
    }
    if (!is_static(golden_case)) return golden::kCompared;  // logits depend on the whole batch
    // With float layers the order of float sums shows, once a rounding flips.
    const bool weights_only = golden_case.at("inputs").at("args").at("bits_activations").is_null();
    const golden::Tolerance tolerance = weights_only                    ? golden::Tolerance{1e-4, 1e-5}
                                        : has_float_layers(golden_case) ? golden::Tolerance{1e-4, 1e-6}
                                                                        : golden::kExact;
    CHECK(golden::difference((*model)(material->batch(0, 8)), golden::tensor(expected.at("logits_first8")),
                             tolerance) == "");
    return golden::kCompared;
  });
}

TEST_CASE("post-training quantization of a trained ResNet-20: golden 10, accuracy on 10,000 images",
          "[.][cifar][slow]") {
  const std::optional<Material> material = Material::load();
  if (!material) return;
  golden::for_each_case("10_resnet20_cifar10_ptq", [&](const Json&, const Json& golden_case) {
    const auto started = std::chrono::steady_clock::now();
    const ModulePtr model = quantized_resnet(*material, golden_case.at("inputs"));
    const Json& expected = golden_case.at("expected");
    const std::string predictions = expected.at("predictions").get<std::string>();
    const auto batch = golden_case.at("inputs").at("batch").get<int64_t>();
    int64_t right = 0, as_distiller = 0;
    const int64_t images = material->images.size();
    for (int64_t first = 0; first < images; first += batch) {
      const int64_t count = std::min(batch, images - first);
      const Tensor logits = (*model)(material->batch(first, count));
      for (int64_t i = 0; i < count; ++i) {
        const auto at = static_cast<size_t>(first + i);
        const int predicted = top1(logits.data().subspan(static_cast<size_t>(i * 10), 10));
        right += predicted == material->images.labels[at];
        as_distiller += predicted == predictions[at] - '0';
      }
    }
    const double accuracy = 100.0 * static_cast<double>(right) / static_cast<double>(images);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    fmt::print(stderr, "{:5} top1 {:.2f} (Distiller {:.2f}), {} of {} predictions as Distiller's, {:.1f} s\n",
               golden_case.at("id").get<std::string>(), accuracy, expected.at("top1").get<double>(), as_distiller,
               images, seconds);
    CHECK(std::abs(accuracy - expected.at("top1").get<double>()) <= (is_static(golden_case) ? 0.1 : 0.2) + 1e-9);
    return golden::kCompared;
  });
}
