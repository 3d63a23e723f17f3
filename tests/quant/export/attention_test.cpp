// Networks of tokens as programs: numbers that are moved, constants, products of two activations, softmax.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/program_file.h"
#include "nn/models/architecture.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "quant/export/simulation.h"
#include "support/catch.h"
#include "support/errors.h"

namespace attention_test {

using namespace qgrad;
using deploy::OpKind;

namespace {

using Nodes = std::vector<Json>;

Json node(const char* name, const char* kind, const Json& settings = Json::object(), const Json& inputs = nullptr) {
  Json result = {{"name", name}, {"class", kind}};
  result.update(settings);
  if (!inputs.is_null()) result["inputs"] = inputs;
  return result;
}

Json transpose(const char* name, const Json& order, const Json& inputs = nullptr) {
  return node(name, "Transpose", {{"order", order}}, inputs);
}
Json reshape(const char* name, const Json& shape, const Json& inputs = nullptr) {
  return node(name, "Reshape", {{"shape", shape}}, inputs);
}

// A network of images of 8x8 with random parameters, quantized.
ModulePtr network(const Nodes& nodes, const Json& config = Json::object()) {
  const Json model = {{"class", "network"}, {"inputs", {{{"name", "image"}, {"shape", {8, 8, 3}}}}}, {"nodes", nodes}};
  ModulePtr net = Registry<Architecture>::create({model, "", "model"})->build(1);
  uint64_t seed = 40;
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, 0.4f));
  net->set_training(false);
  return test::quantized(std::move(net), config, test::images(4, 1));
}

// The layers of a transformer's encoder on 5 tokens of 8 features, one of which is a class token; two heads.
Nodes encoder() {
  return {
      node("patch", "Conv2d", {{"out", 8}, {"kernel", 4}, {"stride", 4}}), reshape("patches", {-1, 4, 8}),
      node("token", "PerExample", {{"shape", {1, 8}}}, {"image"}),
      node("tokens", "Concat", {{"dim", 1}}, {"token", "patches"}),
      node("positions", "Constant", {{"shape", {1, 5, 8}}}),
      node("start", "EltwiseAdd", Json::object(), {"tokens", "positions"}), node("norm", "LayerNorm", {{"shape", {8}}}),
      node("qkv", "Linear", {{"out", 24}}), reshape("parts", {-1, 5, 3, 2, 4}),
      node("q_part", "Slice", {{"dim", 2}, {"begin", 0}, {"end", 1}}, {"parts"}),
      node("k_part", "Slice", {{"dim", 2}, {"begin", 1}, {"end", 2}}, {"parts"}),
      node("v_part", "Slice", {{"dim", 2}, {"begin", 2}, {"end", 3}}, {"parts"}),
      reshape("q_row", {-1, 5, 2, 4}, {"q_part"}), reshape("k_row", {-1, 5, 2, 4}, {"k_part"}),
      reshape("v_row", {-1, 5, 2, 4}, {"v_part"}), transpose("q", {0, 2, 1, 3}, {"q_row"}),
      transpose("k", {0, 2, 3, 1}, {"k_row"}), transpose("v", {0, 2, 1, 3}, {"v_row"}),
      node("root", "Constant", {{"shape", {1, 1, 1, 1}}}), node("scaled", "EltwiseMult", Json::object(), {"q", "root"}),
      node("scores", "BatchMatmul", Json::object(), {"scaled", "k"}), node("shares", "Softmax", {{"dim", -1}}),
      node("mixed", "BatchMatmul", Json::object(), {"shares", "v"}),
      // As exporters write it: tokens of all images stand together.
      transpose("by_token", {2, 0, 1, 3}), reshape("rows", {-1, 8}), node("out", "Linear", {{"out", 8}}),
      reshape("by_example", {5, -1, 8}), transpose("back", {1, 0, 2}),
      node("sum", "EltwiseAdd", Json::object(), {"start", "back"}), node("wide", "Linear", {{"out", 16}}),
      node("gelu", "GELU"), node("narrow", "Linear", {{"out", 8}}),
      node("end", "EltwiseAdd", Json::object(), {"sum", "narrow"})};
}

Nodes with(Nodes nodes, const Nodes& more) {
  nodes.insert(nodes.end(), more.begin(), more.end());
  return nodes;
}

int64_t count_of(const deploy::Program& program, OpKind kind) {
  return std::ranges::count(program.ops, kind, &deploy::Op::kind);
}

// The program, which computes what the network does for every image by itself, from a file too.
deploy::Program check_agrees(const ModulePtr& model) {
  const deploy::Lowered lowered = deploy::lower(*model, test::images(1, 2));
  CHECK(lowered.beyond_simulation.empty());
  const std::string bytes = deploy::program_bytes(lowered.program);
  const deploy::Engine engine(deploy::program_from_bytes(bytes, "test"));
  for (uint64_t seed = 3; seed < 6; ++seed) {
    const test::Agreement agreement = test::compare_with_simulation(*model, engine, test::images(1, seed));
    INFO("first layer that differs: " << agreement.first);
    CHECK(agreement.integers > 0);
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
  }
  CHECK(deploy::onnx_model(lowered.program, {.all_tensors = true}).size() > 1000);
  return lowered.program;
}

const std::vector<Json> kConfigs{
    Json::object(),
    {{"mode", "ASYMMETRIC_UNSIGNED"}, {"per_channel_wts", true}},
    {{"mode", "ASYMMETRIC_SIGNED"}, {"bits_activations", 4}, {"clip_acts", "AVG"}, {"bits_sums", 8}}};

}  // namespace

TEST_CASE("a transformer's encoder becomes a program, whose moves are one operation each between two layers") {
  for (const Json& config : kConfigs) {
    CAPTURE(config.dump());
    const deploy::Program program =
        check_agrees(network(with(encoder(), {node("first", "Slice", {{"dim", 1}, {"begin", 0}, {"end", 1}}),
                                              reshape("row", {-1, 8}), node("fc", "Linear", {{"out", 5}})}),
                             config));
    CHECK(count_of(program, OpKind::matmul) == 2);
    CHECK(count_of(program, OpKind::softmax) == 1);
    // The patches, two constants, the class token with the others; q, k, v; back to tokens.
    CHECK(count_of(program, OpKind::gather) + count_of(program, OpKind::select) <= 10);
  }
}

TEST_CASE("tokens are moved in every way that images are apart in") {
  const Nodes tokens{node("conv", "Conv2d", {{"out", 6}, {"kernel", 3}}), reshape("tokens", {-1, 36, 6})};
  const std::vector<Nodes> moves{
      {transpose("move", {0, 2, 1})},
      {node("move", "Flatten")},
      {node("move", "Gather", {{"dim", 1}, {"indices", {3, 3, 0, 35}}})},
      {node("move", "Slice", {{"dim", 1}, {"begin", 1}, {"step", 5}})},
      {node("move", "Split", {{"dim", 1}, {"parts", 3}, {"index", 2}})},
      {node("move", "Pad", {{"before", {0, 2, 0}}, {"after", {0, 0, 1}}})},
      {reshape("wide", {-1, 36, 1, 6}), node("move", "Expand", {{"shape", {-1, 36, 3, 6}}})},
      {reshape("five", {-1, 2, 3, 6, 6}), transpose("turned", {0, 3, 1, 4, 2}),
       node("move", "Slice", {{"dim", 3}, {"begin", 2}})},
      {node("half", "Slice", {{"dim", 2}, {"begin", 3}}), transpose("first", {1, 0, 2}), transpose("move", {1, 2, 0})},
      {node("relu", "ReLU"), node("move", "Concat", {{"dim", 1}}, {"relu", "tokens"})},
      {node("more", "Concat", {{"dim", 1}}, {"tokens", "tokens"}), transpose("move", {0, 2, 1})}};
  for (const Nodes& move : moves) {
    CAPTURE(Json(move).dump());
    for (const Json& config : kConfigs)
      check_agrees(
          network(with(with(tokens, move), {node("flat", "Flatten"), node("fc", "Linear", {{"out", 5}})}), config));
  }
}

TEST_CASE("images may be moved, too, and what is moved back and forth is not moved") {
  const Nodes conv{node("conv", "Conv2d", {{"out", 6}, {"kernel", 3}})};
  const Nodes end{node("pool", "MaxPool2d", {{"kernel", 2}}), node("flat", "Flatten"),
                  node("fc", "Linear", {{"out", 5}})};
  const auto program = [&](const Nodes& moves) { return check_agrees(network(with(with(conv, moves), end))); };
  const auto moves = [](const deploy::Program& p) { return count_of(p, OpKind::gather) + count_of(p, OpKind::select); };
  CHECK(moves(program({transpose("turned", {0, 2, 1, 3})})) == 1);
  CHECK(moves(program({node("joined", "Concat", {{"dim", 2}}, {"conv", "conv"})})) == 1);
  CHECK(moves(program({transpose("turned", {0, 2, 1, 3}), transpose("back", {0, 2, 1, 3})})) == 0);
  CHECK(moves(program({reshape("row", {-1, 216}), reshape("again", {-1, 6, 6, 6})})) == 0);
}

TEST_CASE("what stays in float is moved in float") {
  const Json in_float = {{"overrides",
                          {{".*", {{"bits_weights", nullptr}, {"bits_activations", nullptr}}},
                           {"fc", {{"bits_weights", 8}, {"bits_activations", 8}}}}}};
  const ModulePtr model =
      network({node("conv", "Conv2d", {{"out", 8}, {"kernel", 4}, {"stride", 4}}), reshape("patches", {-1, 4, 8}),
               node("token", "PerExample", {{"shape", {1, 8}}}, {"image"}),
               node("tokens", "Concat", {{"dim", 1}}, {"token", "patches"}), transpose("turned", {0, 2, 1}),
               node("flat", "Flatten"), node("fc", "Linear", {{"out", 5}})},
              in_float);
  const deploy::Program program = deploy::lower(*model, test::images(1, 2)).program;
  CHECK(deploy::onnx_model(program, {}).size() > 1000);
  const Tensor x = test::images(3, 3), expected = (*model)(x);
  std::vector<float> y(expected.data().size());
  deploy::Engine(program).run(x.data(), y);
  for (size_t i = 0; i < y.size(); ++i) CHECK(y[i] == Approx(expected.data()[i]).margin(1e-3));
}

TEST_CASE("what mixes the images of a batch, or has no form, is refused with the reason") {
  const auto why = [](const Nodes& nodes) {
    const ModulePtr model = network(nodes);
    return test::error_of([&] { deploy::lower(*model, test::images(1, 2)); });
  };
  const Json conv = node("conv", "Conv2d", {{"out", 6}, {"kernel", 3}});
  const Json fc = node("fc", "Linear", {{"out", 5}});
  // Shares of the images of a batch.
  CHECK_THAT(why({conv, reshape("tokens", {36, 6, -1}), node("shares", "Softmax"), reshape("row", {-1, 216}), fc}),
             Contains("images of a batch do not give what each gives alone"));
  CHECK_THAT(why({conv, node("shares", "Softmax", {{"dim", 1}}), node("flat", "Flatten"), fc}),
             Contains("shares") && Contains("programs have no operation for it"));
  CHECK_THAT(why({conv, reshape("images", {-1, 3, 3, 6}), node("pool", "MaxPool2d", {{"kernel", 3}}),
                  reshape("row", {-1, 24}), fc}),
             Contains("pool") && Contains("it gives 4 images for one"));
}

}  // namespace attention_test
