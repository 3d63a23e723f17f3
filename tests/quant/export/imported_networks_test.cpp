// Networks of ONNX files, quantized, as programs.
#include <nlohmann/json.hpp>

#include "nn/onnx/import.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "quant/export/onnx_model.h"
#include "quant/export/simulation.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"

namespace imported_networks_test {

using namespace qgrad;

namespace {

const Json kPerChannel = {{"mode", {{"weights", "SYMMETRIC"}, {"activations", "ASYMMETRIC_UNSIGNED"}}},
                          {"per_channel_wts", true}};

Tensor pictures(int64_t count, uint64_t seed) { return test::normal_tensor({count, 32, 32, 3}, seed); }

ModulePtr imported(const std::filesystem::path& file) { return onnx::import_model(onnx::read(file), {}).build(); }

}  // namespace

TEST_CASE("networks of PyTorch's exporters become programs that compute the simulation's integers") {
  const std::filesystem::path folder = golden::shared_file("models/pytorch2");
  if (!golden::available(folder)) return;
  for (const std::string name : {"resnet_tiny", "mobilenet_v2_tiny", "mobilenet_v3_tiny", "efficientnet_tiny",
                                 "convnext_tiny", "vit_tiny", "unet_tiny", "shuffle_tiny"})
    for (const char* exporter : {"", "_ts14"}) {
      INFO(name << exporter);
      const ModulePtr model =
          test::quantized(imported(folder / (name + exporter + ".onnx")), kPerChannel, pictures(4, 1));
      const deploy::Lowered lowered = deploy::lower(*model, pictures(1, 2));
      CHECK(lowered.beyond_simulation.empty());
      CHECK(deploy::float_sums_before_integers(lowered.program).empty());
      const deploy::Engine engine(lowered.program);
      // One by one: transformers as they are exported have the tokens of several images together.
      for (const uint64_t seed : {3, 4}) {
        const test::Agreement agreement = test::compare_with_simulation(*model, engine, pictures(1, seed));
        CHECK(agreement.integers > 0);
        CHECK(agreement.differing == 0);
        CHECK(agreement.logits_differing == 0);
      }
      CHECK(deploy::onnx_model(lowered.program, {}).size() > 1000);
    }
}

TEST_CASE("a product with one number for each channel is imported as a layer of weights, another constant is refused") {
  const auto network = [](const std::vector<int64_t>& dims) {
    const int64_t image[] = {3, 4, 4};
    std::vector<float> factors(static_cast<size_t>(dims[1] * dims[2]));
    for (size_t i = 0; i < factors.size(); ++i) factors[i] = 0.5f + static_cast<float>(i);
    deploy::OnnxModel model;
    model.input("x", deploy::OnnxType::float32, image);
    model.node("Mul", {"x", model.constant<float>("factors", dims, factors)}, "y");
    model.output("y", deploy::OnnxType::float32, image);
    return onnx::import_model(onnx::parse(model.bytes("g")), {}).build();
  };
  const ModulePtr scaled = network({1, 3, 1, 1}), other = network({1, 3, 4, 1});
  int64_t convolutions = 0;
  visit_modules(*scaled, [&](Module& module) { convolutions += module.kind() == "Conv2d"; });
  CHECK(convolutions == 1);
  const Tensor x = test::normal_tensor({2, 4, 4, 3}, 1), y = (*scaled)(x);
  for (size_t i = 0; i < x.data().size(); ++i) CHECK(y.data()[i] == x.data()[i] * (0.5f + static_cast<float>(i % 3)));
  scaled->set_training(false), other->set_training(false);
  CHECK_NOTHROW(deploy::lower(*scaled, test::normal_tensor({1, 4, 4, 3}, 1)));
  CHECK_THAT(test::error_of([&] {
               deploy::lower(*other, test::normal_tensor({1, 4, 4, 3}, 1));
             }),
             Contains("it reads a constant"));
}

}  // namespace imported_networks_test
