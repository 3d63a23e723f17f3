// ONNX files, as far as their bytes tell; tests/onnx runs them in ONNX Runtime.
#include "quant/deploy/onnx.h"

#include <cstdlib>

#include "apps/onnx_test_data.h"
#include "core/json.h"
#include "quant/deploy/every_layer.h"
#include "quant/deploy/lowering.h"
#include "quant/deploy/onnx_model.h"
#include "quant/resnet_material.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using deploy::OnnxModel;
using deploy::OnnxType;
using test::every_layer;
using test::images;

namespace {

std::string exported(Json config, const deploy::OnnxOptions& options = {}) {
  config["rounding"] = "onnx";
  const ModulePtr model = test::quantized(every_layer(), config, images(4, 1));
  return deploy::onnx_model(deploy::lower(*model, images(1, 2)).program, options);
}

}  // namespace

TEST_CASE("a tensor's bytes are a TensorProto") {
  const int64_t dims[] = {2, 300};
  CHECK(deploy::onnx_tensor("x", OnnxType::int8, dims, "ab") ==
        std::string("\x08\x02\x08\xac\x02\x10\x03\x42\x01x\x4a\x02"
                    "ab",
                    14));
}

TEST_CASE("a node's bytes are a NodeProto in a graph") {
  OnnxModel model;
  CHECK(model.node("Relu", {"a"}, "b") == "b");
  CHECK_THAT(model.bytes("g"), Contains(std::string("\x0a\x0f\x0a\x01"
                                                    "a\x12\x01"
                                                    "b\x1a\x01"
                                                    "b\x22\x04"
                                                    "Relu",
                                                    17)));
}

TEST_CASE("sums are Sum, which runtimes compute in float, and products are hidden from integer forms") {
  const std::string bytes = exported(Json::object());
  CHECK_THAT(bytes, Contains("add/sum") && Contains("\x22\x03Sum") &&
                        !Contains("\x22\x03"
                                  "Add"));
  CHECK_THAT(bytes, Contains("mult/product1") && Contains("mult/sum"));
}

TEST_CASE("bytes are clipped where they hold fewer than 8 bits") {
  const auto clips = [](const std::string& bytes) {
    size_t count = 0;
    for (size_t at = bytes.find("\x22\x04"
                                "Clip");
         at != std::string::npos; at = bytes.find("\x22\x04"
                                                  "Clip",
                                                  at + 1))
      ++count;
    return count;
  };
  CHECK(clips(exported({{"mode", "ASYMMETRIC_UNSIGNED"}, {"bits_activations", 4}})) >
        clips(exported({{"mode", "ASYMMETRIC_UNSIGNED"}})));
}

TEST_CASE("weights beyond 8 bits are sums of two integer convolutions") {
  CHECK_THAT(exported({{"mode", "ASYMMETRIC_UNSIGNED"}, {"per_channel_wts", true}}), Contains("ConvInteger"));
  CHECK_THAT(exported({{"mode", "SYMMETRIC"}, {"per_channel_wts", true}}), !Contains("ConvInteger"));
}

TEST_CASE("a channel whose weights have died is exported like the others") {
  ModulePtr net = every_layer();
  Parameter* weight = nullptr;
  for (Parameter* p : all_parameters(*net))
    if (!weight && p->layout() == Layout::conv) weight = p;
  REQUIRE(weight);
  Tensor almost_dead = weight->raw().clone();
  const auto channels = static_cast<size_t>(almost_dead.dim(-1));
  for (size_t i = 0; i < almost_dead.data().size(); i += channels) almost_dead.mutable_data()[i] *= 1e-5f;
  weight->set_raw(almost_dead);
  const Json config = {{"mode", "SYMMETRIC"}, {"per_channel_wts", true}, {"rounding", "onnx"}};
  const ModulePtr model = test::quantized(std::move(net), config, images(4, 1));
  CHECK(deploy::onnx_model(deploy::lower(*model, images(1, 2)).program, {}).size() > 1000);
}

TEST_CASE("all quantized tensors can be outputs") {
  CHECK(exported(Json::object(), {.all_tensors = true}).size() > exported(Json::object()).size() + 14 * 10);
}

TEST_CASE("a model quantized under Distiller's rounding is refused with what to do") {
  const ModulePtr model = test::quantized(every_layer(), Json::object(), images(4, 1));
  const deploy::Program program = deploy::lower(*model, images(1, 2)).program;
  CHECK_THAT(test::error_of([&] { deploy::onnx_model(program, {}); }), Contains("\"rounding\": \"onnx\""));
}

// Depthwise and grouped convolutions, a concatenation, a product, pools, table lookups; for tests/onnx/run.sh.
TEST_CASE("files of a net of every layer with the engine's results on 1,000 images", "[.][onnx-files]") {
  const char* to = std::getenv("QGRAD_ONNX_FILES");
  const std::optional<golden::Material> material = golden::Material::load();
  if (!to || !material) return;
  for (const auto& [weights, activations] : {std::pair(8, 8), std::pair(4, 8), std::pair(4, 4)})
    for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"})
      for (const bool per_channel : {false, true}) {
        const Json config = {{"rounding", "onnx"},
                             {"mode", mode},
                             {"per_channel_wts", per_channel},
                             {"bits_weights", weights},
                             {"bits_activations", activations}};
        const ModulePtr model = test::quantized(every_layer(32), config, material->batch(0, 8));
        const deploy::Engine engine(deploy::lower(*model, material->batch(0, 1)).program);
        const auto folder = std::filesystem::path(to) / fmt::format("every_layer-W{}A{}-{}-{}", weights, activations,
                                                                    mode, per_channel ? "channel" : "tensor");
        for (int64_t set = 0; set < 10; ++set)
          write_onnx_test_set(folder / fmt::format("test_data_set_{}", set), engine, material->batch(100 * set, 100),
                              true);
        write_file_atomically(folder / "model.onnx", deploy::onnx_model(engine.program(), {.all_tensors = true}));
      }
}
