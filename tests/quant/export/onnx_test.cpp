// ONNX files, as far as their bytes tell; tests/onnx runs them in ONNX Runtime.
#include "quant/export/onnx.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "apps/onnx_test_data.h"
#include "core/file.h"
#include "core/json.h"
#include "nn/onnx/onnx_file.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx_model.h"
#include "quant/resnet_material.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;
using deploy::OnnxModel;
using deploy::OnnxType;
using test::every_layer;
using test::images;

namespace {

std::string exported(const Json& config, const deploy::OnnxOptions& options = {}) {
  const ModulePtr model = test::quantized(every_layer(), config, images(4, 1));
  return deploy::onnx_model(deploy::lower(*model, images(1, 2)).program, options);
}

// A 1x1 convolution of one channel with these weights, one for each output channel.
deploy::Program with_weights(const std::vector<int16_t>& weights, bool per_channel, deploy::OpKind kind) {
  using namespace deploy;
  const auto channels = static_cast<int32_t>(weights.size());
  const bool real = kind == OpKind::real_conv;
  Program p;
  p.tensors = {{.name = "input", .type = Type::float32},
               {.name = "quantized", .grid = {.scale = 10, .qmin = 0, .qmax = 255}},
               {.name = "layer",
                .type = real ? Type::float32 : Type::byte,
                .channels = channels,
                .grid = real ? Grid{} : Grid{.scale = 3, .qmin = 0, .qmax = 255}},
               {.name = "values", .type = Type::float32, .channels = channels}};
  Op conv{.kind = kind, .inputs = {1}, .output = 2, .weight = weights};
  conv.bias.assign(weights.size(), 0);
  conv.weight_step.assign(per_channel ? weights.size() : 1, 0.01f);
  conv.rescale.assign(weights.size(), 0.1f * 0.01f * 3);
  conv.real_bias.assign(real ? weights.size() : 0, 0.0f);
  if (!real) conv.low.assign(weights.size(), 0), conv.high.assign(weights.size(), 255);
  p.ops = {{.kind = OpKind::quantize, .inputs = {0}, .output = 1, .low = {0}, .high = {255}}, conv};
  if (!real) p.ops.push_back({.kind = OpKind::dequantize, .inputs = {2}, .output = 3});
  p.output = real ? 2 : 3;
  if (real) p.tensors.pop_back();
  return p;
}

// The integers that a file has for weights: bytes less their zero points, over all parts of a layer.
std::vector<int16_t> weights_in(const std::string& bytes) {
  const onnx::Model graph = onnx::parse(bytes);
  const auto integers = [&](const std::string& name) {
    const auto c = std::ranges::find(graph.constants, name, &onnx::Constant::name);
    REQUIRE(c != graph.constants.end());
    std::vector<int16_t> values;
    for (const char v : c->values)
      values.push_back(c->type == OnnxType::int8 ? int16_t{static_cast<int8_t>(v)} : int16_t{static_cast<uint8_t>(v)});
    return values;
  };
  std::vector<int16_t> sum;
  for (const onnx::Node& node : graph.nodes) {
    const bool part = node.op == "ConvInteger",
               whole = node.op == "DequantizeLinear" && node.outputs[0] == "layer/weight";
    if (!part && !whole) continue;
    const std::vector<int16_t> values = integers(node.inputs[part ? 1 : 0]),
                               zeros = integers(node.inputs[part ? 3 : 2]);
    sum.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i)
      sum[i] = static_cast<int16_t>(sum[i] + values[i] - zeros[zeros.size() == 1 ? 0 : i]);
  }
  return sum;
}

}  // namespace

TEST_CASE("layers of which two products can pass 16 bits are named, and reduced ranges leave none") {
  const auto pairs = [](const Json& config) {
    const ModulePtr model = test::quantized(every_layer(), config, images(4, 1));
    return deploy::pairs_beyond_16_bits(deploy::lower(*model, images(1, 2)).program);
  };
  Json config = {{"mode", {{"weights", "SYMMETRIC"}, {"activations", "ASYMMETRIC_UNSIGNED"}}},
                 {"per_channel_wts", true}};
  const std::vector<std::string> wide = pairs(config);
  CHECK(std::ranges::count(wide, "narrow") == 1);
  CHECK(std::ranges::count(wide, "fc") == 1);
  config["reduce_range"] = true;
  CHECK(pairs(config).empty());
  config["reduce_range"] = false;
  config["bits_activations"] = 4;
  CHECK(pairs(config).empty());
}

TEST_CASE("two products of any output channel count, and none of two channels") {
  using deploy::OpKind;
  const auto pairs = [](const std::vector<int16_t>& weights) {
    return deploy::pairs_beyond_16_bits(with_weights(weights, true, OpKind::conv)).size();
  };
  CHECK(pairs({127, 127}) == 0);  // of two channels
  CHECK(pairs({128}) == 0);       // no signed byte
  deploy::Program program = with_weights({100, -60, 29, -69}, true, OpKind::conv);
  deploy::Op& conv = program.ops[1];
  conv.bias.resize(2);                                       // two inputs of two channels
  CHECK(deploy::pairs_beyond_16_bits(program).size() == 1);  // (100 + 29) * 255
  conv.weight = {100, -60, 28, -68};
  CHECK(deploy::pairs_beyond_16_bits(program).empty());
  conv.weight = {100, -60, -100, -69};
  CHECK(deploy::pairs_beyond_16_bits(program).size() == 1);
}

TEST_CASE("every integer weight of a layer is in its file") {
  std::vector<int16_t> all, positive, negative, far_positive;
  for (int16_t w = -255; w <= 255; ++w) {
    all.push_back(w);
    if (w > 0) positive.push_back(w);
    if (w < 0) negative.push_back(w);
    if (w >= 200) far_positive.push_back(w);
  }
  const std::vector<std::vector<int16_t>> cases{all, positive, negative, far_positive, {0, 0, 0},
                                                {0}, {255},    {-255},   {-128, 127},  {-128, 128}};
  for (const std::vector<int16_t>& weights : cases)
    for (const deploy::OpKind kind : {deploy::OpKind::conv, deploy::OpKind::real_conv})
      for (const bool per_channel : {false, true}) {
        INFO(weights.front() << " to " << weights.back() << (per_channel ? ", per channel" : ""));
        deploy::Program program = with_weights(weights, per_channel, kind);
        CHECK(weights_in(deploy::onnx_model(program, {})) == weights);
        program.ops[1].sum_shift = 4;  // the integers are those of the file times 16, or the file's are
        const std::vector<int16_t> shifted = weights_in(deploy::onnx_model(program, {}));
        for (size_t i = 0; i < weights.size(); ++i) CHECK((shifted[i] == weights[i] || shifted[i] == 16 * weights[i]));
      }
}

TEST_CASE("what is not finite, or beyond a byte, is refused with the layer") {
  const auto refused = [](deploy::OpKind kind, auto&& spoil) {
    deploy::Program program = with_weights({1, 2}, true, kind);
    spoil(program);
    return test::error_of([&] { deploy::onnx_model(program, {}); });
  };
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  using deploy::OpKind;
  CHECK_THAT(refused(OpKind::conv, [](auto& p) { p.ops[1].weight[0] = 256; }), Contains("layer") && Contains("256"));
  CHECK_THAT(refused(OpKind::real_conv, [&](auto& p) { p.ops[1].real_bias[1] = nan; }),
             Contains("layer") && Contains("its bias holds nan"));
  CHECK_THAT(refused(OpKind::real_conv, [&](auto& p) { p.ops[1].rescale[1] = infinity; }),
             Contains("layer") && Contains("its factor holds inf"));
  CHECK_THAT(refused(OpKind::conv, [&](auto& p) { p.ops[1].weight_step[1] = nan; }),
             Contains("layer/weight/step: holds"));
  CHECK_THAT(refused(OpKind::conv, [&](auto& p) { p.ops[1].weight_step[1] = 0; }),
             Contains("layer/weight") && Contains("its step is 0"));
  CHECK_THAT(refused(OpKind::conv, [&](auto& p) { p.tensors[2].grid.scale = 1e-41f; }),
             Contains("layer/step: holds inf"));
}

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
  const Json config = {{"mode", "SYMMETRIC"}, {"per_channel_wts", true}};
  const ModulePtr model = test::quantized(std::move(net), config, images(4, 1));
  CHECK(deploy::onnx_model(deploy::lower(*model, images(1, 2)).program, {}).size() > 1000);
}

TEST_CASE("all quantized tensors can be outputs") {
  CHECK(exported(Json::object(), {.all_tensors = true}).size() > exported(Json::object()).size() + 14 * 10);
}

// Depthwise and grouped convolutions, a concatenation, a product, pools, table lookups; for tests/onnx/run.sh.
TEST_CASE("files of a net of every layer with the engine's results on 1,000 images", "[.][onnx-files]") {
  const char* to = std::getenv("QGRAD_ONNX_FILES");
  const std::optional<golden::Material> material = golden::Material::load();
  if (!to || !material) return;
  for (const auto& [weights, activations] : {std::pair(8, 8), std::pair(4, 8), std::pair(4, 4)})
    for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"})
      for (const bool per_channel : {false, true}) {
        const Json config = {{"mode", mode},
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
