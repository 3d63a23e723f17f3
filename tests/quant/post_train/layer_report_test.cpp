// The per-layer report: what its figures mean, and that it names the layer that is broken.
#include "quant/post_train/layer_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/fold.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/models/architecture.h"
#include "quant/post_train/linear.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;

namespace {

// A float model and its quantized twin, calibrated on the images.
struct Pair {
  ModulePtr reference, quantized;
  std::vector<Tensor> images;

  std::vector<LayerError> report() { return layer_report(*quantized, *reference, images); }
  RangeLinearQuantWrapper& layer(const std::string& path) {
    return dynamic_cast<RangeLinearQuantWrapper&>(*find_module(*quantized, path));
  }
};

template <class Make>
Pair make_pair(Make&& make, const Json& config, std::vector<Tensor> images) {
  Pair pair{make(), make(), std::move(images)};
  fold_batch_norms(pair.reference, Graph::trace(*pair.reference, pair.images[0]));
  pair.reference->set_training(false);
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*pair.quantized, [&] {
    for (const Tensor& batch : pair.images) (*pair.quantized)(batch);
  }));
  quantizer.prepare(pair.quantized, nullptr, pair.images[0]);
  pair.quantized->set_training(false);
  return pair;
}

Pair linear_pair(const Json& config) {
  const auto make = [] {
    auto net = std::make_unique<Sequential>();
    net->add("first", std::make_unique<Linear>(3, 4)).add("relu", std::make_unique<ReLU>());
    net->add("second", std::make_unique<Linear>(4, 2));
    uint64_t seed = 3;
    for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++));
    net->set_training(false);
    return net;
  };
  return make_pair(make, config, {test::normal_tensor({5, 3}, 1), test::normal_tensor({2, 3}, 2)});
}

// A ResNet-20 with parameters of training's size: every kind of wrapper, 32 layers.
Pair resnet_pair(const Json& config) {
  const auto make = [] {
    ModulePtr net = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->build(7);
    net->set_training(false);
    return net;
  };
  return make_pair(make, config, {test::normal_tensor({4, 32, 32, 3}, 5)});
}

}  // namespace

TEST_CASE("the layer report's figures are those of the layer's outputs on the float model's inputs") {
  Pair pair = linear_pair({{"bits_activations", 4}, {"bits_weights", 4}, {"mode", "ASYMMETRIC_UNSIGNED"}});
  const std::vector<LayerError> report = pair.report();
  REQUIRE(report.size() == 2);
  const auto first = std::ranges::find(report, "first", &LayerError::path);

  double error = 0, signal = 0, output = 0, product = 0;
  for (const Tensor& batch : pair.images) {
    const Tensor y = pair.layer("first")(batch);
    const Tensor r = relu((*find_module(*pair.reference, "first"))(batch));
    for (size_t i = 0; i < y.data().size(); ++i) {
      const double a = y.data()[i], b = r.data()[i];
      error += (a - b) * (a - b);
      signal += b * b;
      output += a * a;
      product += a * b;
    }
  }
  REQUIRE(error > 0);
  CHECK(first->kind == "Linear");
  CHECK(first->sqnr_db == Approx(10 * std::log10(signal / error)));
  CHECK(first->mean_squared_error == Approx(error / (7 * 4)));
  CHECK(first->cosine == Approx(product / std::sqrt(signal * output)));
  CHECK(first->saturation == 0);  // its range was calibrated on these images
}

TEST_CASE("the layer report counts outputs beyond the grid as saturated") {
  Pair pair = linear_pair({{"mode", "ASYMMETRIC_UNSIGNED"}});
  named_quant_param(*pair.quantized, "first.output_clipping").set(std::vector{0.5f});
  int64_t beyond = 0, all = 0;
  for (const Tensor& batch : pair.images) {
    const Tensor rectified = relu((*find_module(*pair.reference, "first"))(batch));
    for (const float r : rectified.data()) {
      beyond += r > 0.5f + 0.25f / 255;
      ++all;
    }
  }
  const std::vector<LayerError> report = pair.report();
  REQUIRE(report.front().path == "first");
  CHECK(beyond > 0);
  CHECK(report.front().saturation == Approx(static_cast<double>(beyond) / static_cast<double>(all)));
}

TEST_CASE("a layer that inherits an error is not blamed for it") {
  const Json config = {{"mode", "ASYMMETRIC_UNSIGNED"}};
  Pair healthy = linear_pair(config), broken = linear_pair(config);
  named_quant_param(*broken.quantized, "first.output_clipping").set(std::vector{0.1f});
  const auto second = [](const std::vector<LayerError>& report) {
    return std::ranges::find(report, "second", &LayerError::path)->mean_squared_error;
  };
  CHECK(second(broken.report()) == second(healthy.report()));
}

TEST_CASE("a layer whose scale is eight times too large is named first, in 20 of 20 layers") {
  const Json config = {{"bits_activations", GENERATE(8, 4)},
                       {"bits_weights", 4},
                       {"mode", "ASYMMETRIC_UNSIGNED"},
                       {"per_channel_wts", true}};
  Pair pair = resnet_pair(config);
  std::vector<std::string> paths;
  for (const LayerError& layer : pair.report()) paths.push_back(layer.path);
  REQUIRE(paths.size() == 32);
  std::ranges::sort(paths);
  int named_first = 0;
  for (size_t i = 0; i < 20; ++i) {
    const std::string& layer = paths[i + 6];
    const NamedQuantParam scale = named_quant_param(*pair.quantized, layer + ".output_scale");
    const std::vector<float> healthy = scale.get();
    scale.set(std::vector{8 * healthy[0]});
    const std::string first = pair.report().front().path;
    INFO("broken " << layer << ", named " << first);
    CHECK(first == layer);
    named_first += first == layer;
    scale.set(healthy);
  }
  CHECK(named_first == 20);
}
