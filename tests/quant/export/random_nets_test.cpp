// Random networks with numbers that are hard to represent, in every quantization: what is simulated is what runs.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <regex>

#include "apps/onnx_test_data.h"
#include "core/file.h"
#include "core/json.h"
#include "core/random.h"
#include "quant/export/every_layer.h"
#include "quant/export/from_trained.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "quant/export/simulation.h"
#include "quant/quantizer.h"
#include "support/catch.h"
#include "support/random_cases.h"
#include "support/random_layers.h"
#include "support/random_net.h"

using namespace qgrad;

namespace {

// One choice of a network, of what is planted in it, and of how it is quantized, all functions of the seed.
struct RandomCase {
  uint64_t seed = 0;
  std::vector<test::Planted> planted;
  Json quantizer;
  std::string describe() const { return test::describe_net(seed, planted) + ", " + quantizer.dump(); }
  bool is_post_training() const { return quantizer.at("class") == "PostTrainLinearQuantizer"; }
};

Json random_quantizer(RandomStream& random, bool post_training) {
  const auto one_of = [&](const std::vector<Json>& values) {
    return values[random.below(static_cast<uint32_t>(values.size()))];
  };
  Json config = {{"bits_weights", one_of({8, 8, 4, 2})}, {"bits_activations", one_of({8, 8, 4})}};
  const Json midrise = {{"activations", "ASYMMETRIC_UNSIGNED"}, {"weights", "SYMMETRIC_MIDRISE"}};
  const Json mode = one_of({"SYMMETRIC", "SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED", midrise});
  if (post_training || random.below(2) == 0) {
    config.update({{"class", "PostTrainLinearQuantizer"}, {"mode", mode}});
    config["per_channel_wts"] = random.below(2) == 0;
    if (random.below(3) == 0) config["bits_sums"] = 8;
    return config;
  }
  config["class"] = one_of({"PACTQuantizer", "DorefaQuantizer", "WRPNQuantizer", "LSQQuantizer", "LSQPlusQuantizer",
                            "TQTQuantizer", "QuantAwareTrainRangeLinearQuantizer"});
  config["quantized_activations"] = one_of({"inputs", "outputs"});
  if (config["class"] == "QuantAwareTrainRangeLinearQuantizer")
    config["mode"] = mode, config["per_channel_wts"] = random.below(2) == 0;
  return config;
}

RandomCase random_case(uint64_t seed) {
  RandomStream random(seed, "random case");
  RandomCase result{.seed = seed};
  const std::vector<test::Planted> all = test::all_planted();
  for (uint32_t left = random.below(4); left > 0; --left)
    result.planted.push_back(all[random.below(static_cast<uint32_t>(all.size()))]);
  result.quantizer = random_quantizer(random, false);
  return result;
}

// How far outputs are apart, as a share of the largest, in the median of the images: one whose numbers lie at ties may
// be far.
float distance(const Tensor& a, const Tensor& b) {
  float largest = 1e-30f;
  for (const float y : a.data()) largest = std::max(largest, std::fabs(y));
  std::vector<float> of_image(static_cast<size_t>(a.dim(0)));
  for (size_t i = 0; i < a.data().size(); ++i) {
    float& image = of_image[i / static_cast<size_t>(a.dim(1))];
    image = std::max(image, std::fabs(a.data()[i] - b.data()[i]) / largest);
  }
  std::ranges::sort(of_image);
  return of_image[of_image.size() / 2];
}

// In integer layers, with ranges of random images. Those of a trained model have to give what it gave.
ModulePtr quantized(const RandomCase& c) {
  ModulePtr net = test::random_net(c.seed, c.planted);
  if (c.is_post_training()) {
    Json config = c.quantizer;
    config.erase("class");
    return test::quantized(std::move(net), config, test::images(8, 1));
  }
  const auto quantizer = Registry<Quantizer>::create({c.quantizer, "", "quantizer"});
  quantizer->prepare(net, nullptr, test::images(1, 9));
  net->set_training(true);
  for (uint64_t i = 0; i < 2; ++i) (*net)(test::images(16, i + 1));
  net->set_training(false);
  const Tensor x = test::images(16, 7), trained = (*net)(x);
  deploy::to_integer_layers(net, test::images(1, 6));
  CHECK(distance(trained, (*net)(x)) < 1e-3f);
  return net;
}

// A network of random layers, and how it is quantized after training.
struct LayersCase {
  explicit LayersCase(uint64_t number) : seed(number), network(test::random_network(number)) {
    RandomStream random(seed, "quantizer of random layers");
    quantizer = random_quantizer(random, true);
    quantizer.erase("class");
  }
  ModulePtr quantized() const {
    return test::quantized(test::random_layers(network, seed), quantizer, test::images(8, 1));
  }
  std::string describe() const { return fmt::format("seed {}, {}, {}", seed, network.json().dump(), quantizer.dump()); }
  uint64_t seed;
  Config network;
  Json quantizer;
};

// The program of what make() gives; none where an error says which layer, whose name matches `layers`, refuses.
std::optional<deploy::Lowered> lowered_or_refused(const std::function<Module&()>& make, const char* layers) {
  try {
    return deploy::lower(make(), test::images(1, 2));
  } catch (const Error& e) {
    INFO(e.what());
    CHECK(std::regex_search(e.what(), std::regex(layers)));
    return std::nullopt;
  }
}

}  // namespace

TEST_CASE("programs of random networks compute the simulation's integers, or are refused with a layer") {
  int64_t refused = 0, integers = 0;
  const uint64_t count = test::random_cases(500);
  for (uint64_t seed = 0; seed < count; ++seed) {
    const RandomCase c = random_case(seed);
    INFO(c.describe());
    ModulePtr model;
    const auto lowered =
        lowered_or_refused([&]() -> Module& { return *(model = quantized(c)); }, "(conv|bn|relu|add|concat|fc)[0-9]");
    if (!lowered) {
      ++refused;
      continue;
    }
    const test::Agreement agreement =
        test::compare_with_simulation(*model, deploy::Engine(lowered->program), test::images(4, 3));
    INFO("first layer that differs: " << agreement.first);
    integers += agreement.integers;
    if (lowered->beyond_simulation.empty()) {
      CHECK(agreement.differing == 0);
      CHECK(agreement.logits_differing == 0);
    }
    CHECK(deploy::onnx_model(lowered->program, {}).size() > 1000);
  }
  std::cout << count << " random networks compared, but for " << refused << " that were refused\n";
  CHECK(refused <= static_cast<int64_t>(count / 20));
  CHECK(integers > static_cast<int64_t>(1000 * count));
}

TEST_CASE("programs of random layers compute the simulation's integers, or are refused with a layer") {
  const uint64_t count = test::random_cases(150);
  uint64_t refused = 0;
  int64_t integers = 0;
  for (uint64_t seed = 0; seed < count; ++seed) {
    const LayersCase c(seed);
    INFO(c.describe());
    ModulePtr model;
    const auto lowered =
        lowered_or_refused([&]() -> Module& { return *(model = c.quantized()); }, "layer[0-9]|fc|flat");
    if (!lowered) {
      ++refused;
      continue;
    }
    const test::Agreement agreement =
        test::compare_with_simulation(*model, deploy::Engine(lowered->program), test::images(4, 3));
    INFO("first layer that differs: " << agreement.first);
    integers += agreement.integers;
    if (!lowered->beyond_simulation.empty()) continue;
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
  }
  std::cout << count << " networks of random layers compared, but for " << refused << " that were refused\n";
  CHECK(refused <= count / 5);
  CHECK(integers > static_cast<int64_t>(100 * count));
}

namespace {

// How many networks files are asked for.
uint64_t files_asked_for() {
  const char* nets = std::getenv("QGRAD_ONNX_NETS");
  return nets ? std::strtoull(nets, nullptr, 10) : 40;
}

// The files of what make() gives; false where it is refused, or nothing is promised for other runtimes.
bool write_files(const std::filesystem::path& folder, const std::function<ModulePtr()>& make,
                 const std::string& description) {
  std::optional<deploy::Engine> engine;
  try {
    const ModulePtr model = make();
    engine.emplace(deploy::lower(*model, test::images(1, 2)).program);
  } catch (const Error&) {
    return false;  // the tests above count them
  }
  if (!deploy::float_sums_before_integers(engine->program()).empty()) return false;
  write_onnx_test_set(folder / "test_data_set_0", *engine, test::images(100, 5), true);
  write_file_atomically(folder / "model.onnx", deploy::onnx_model(engine->program(), {.all_tensors = true}));
  write_file_atomically(folder / "case.txt", description);
  return true;
}

}  // namespace

TEST_CASE("files of random networks with the engine's results on 100 images", "[.][onnx-files]") {
  const char* to = std::getenv("QGRAD_ONNX_FILES");
  if (!to) return;
  for (uint64_t seed = 0, left = files_asked_for(); left > 0; ++seed) {
    const RandomCase c = random_case(seed);
    left -= write_files(
        std::filesystem::path(to) / fmt::format("random-{}", seed), [&] { return quantized(c); }, c.describe());
  }
}

TEST_CASE("files of networks of random layers with the engine's results on 100 images", "[.][onnx-files]") {
  const char* to = std::getenv("QGRAD_ONNX_FILES");
  if (!to) return;
  for (uint64_t seed = 0, left = files_asked_for(); left > 0; ++seed) {
    const LayersCase c(seed);
    left -= write_files(
        std::filesystem::path(to) / fmt::format("layers-{}", seed), [&] { return c.quantized(); }, c.describe());
  }
}
