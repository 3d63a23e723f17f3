// What layers multiply, and with how many bits, against what a quantized network computes on.
#include "quant/bit_operations.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/models/architecture.h"
#include "quant/post_train/linear.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;

namespace bit_operations_test {
namespace {

ModulePtr digits_net() {
  ModulePtr model =
      Registry<Architecture>::create(Config::parse(R"({"class": "convnet", "width": 4})", "model"))->make();
  uint64_t seed = 5;
  for (Parameter* p : all_parameters(*model)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, 0.3f));
  model->set_training(false);
  return model;
}
Tensor images() { return test::normal_tensor({2, 8, 8, 1}, 3); }

struct Prepared {
  ModulePtr in_float = digits_net(), model = digits_net();
  Graph graph = Graph::trace(*in_float, slice(images(), 0, 0, 1));
  std::unique_ptr<PostTrainLinearQuantizer> quantizer;
  explicit Prepared(const Json& settings) {
    quantizer =
        std::make_unique<PostTrainLinearQuantizer>(read_config<PostTrainLinearConfig>({settings, "", "quantizer"}));
    quantizer->set_stats(collect_quant_stats(*model, [&] { (*model)(images()); }));
    quantizer->prepare(model, nullptr, images());
  }
  std::map<std::string, LayerWork> work() const {
    std::map<std::string, LayerWork> by_layer;
    for (const LayerWork& layer : work_of_layers(graph, quantizer->resolved())) by_layer[layer.layer] = layer;
    return by_layer;
  }
};

// The bits of the grids that the layers with weights of one call compute on.
struct InputGrids final : CallObserver {
  void leave(Module& module, Inputs x, const Tensor&) override {
    const auto* layer = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&module);
    if (!layer || !layer->quantization().output) return;
    const Grid grid = layer->input_grid(0, x[0]);
    bits[module.path()] = static_cast<int>(std::log2(grid.qmax - grid.qmin + 1));
  }
  std::map<std::string, int> bits;
};

}  // namespace

TEST_CASE("what layers read is known of quantizers that say nothing of it") {
  const auto input_of = [](const char* quantized_activations, const char* layer) {
    const auto quantizer = Registry<Quantizer>::create({{{"class", "DorefaQuantizer"},
                                                         {"bits_activations", 4},
                                                         {"bits_weights", 3},
                                                         {"quantized_activations", quantized_activations},
                                                         {"overrides", {{"relu3", {{"bits_activations", nullptr}}}}}},
                                                        "",
                                                        "quantizer"});
    if (std::string(quantized_activations) == "inputs") quantizer->allow_idle_overrides();
    ModulePtr model = digits_net();
    quantizer->prepare(model, nullptr, images());
    const auto found = std::ranges::find(quantizer->resolved(), layer, &Quantizer::Resolved::path);
    return std::pair(found->input ? found->input->bits : 0, found->input ? found->input->of : "");
  };
  CHECK(input_of("outputs", "conv1").first == 0);
  CHECK(input_of("outputs", "conv2") == std::pair(4, std::string("relu1")));
  CHECK(input_of("outputs", "fc").first == 0);
  CHECK(input_of("inputs", "conv2") == std::pair(4, std::string("conv2")));
}

TEST_CASE("multiplications are counted for one example, and numbers in float have 32 bits") {
  const Prepared prepared({{"bits_activations", 8},
                           {"bits_weights", 4},
                           {"overrides", {{"conv3", {{"bits_weights", nullptr}, {"bits_activations", nullptr}}}}}});
  const auto work = prepared.work();
  REQUIRE(work.size() == 4);
  CHECK(work.at("conv1").bit_operations() == 8 * 8 * 9 * 1 * 4 * 4 * 8);
  CHECK(work.at("conv2").bit_operations() == 4 * 4 * 9 * 4 * 4 * 4 * 8);
  CHECK(work.at("conv3").bit_operations() == 4 * 4 * 9 * 4 * 4 * 32 * 32);
  CHECK(work.at("fc").bit_operations() == 16 * 10 * 4 * 8);
}

TEST_CASE("the bits of what layers read are those of the grids that they compute on, and name what decides them") {
  const Json bits_of_all = {{"conv1", {{"bits_activations", 7}}},
                            {"pool1", {{"bits_activations", 6}}},
                            {"conv2", {{"bits_activations", 5}}},
                            {"conv3", {{"bits_activations", 4}}},
                            {"avgpool", {{"bits_activations", 3}}},
                            {"fc", {{"bits_activations", 2}}},
                            {"residual_eltwiseadd", {{"bits_activations", 6}}}};
  Json with_input = bits_of_all;
  with_input["conv1"]["input_overrides"] = {{"0", {{"bits_activations", 8}}}};
  for (const Json& overrides : {bits_of_all, with_input})
    for (const Json& bits_sums : {Json(nullptr), Json(7)}) {
      const Prepared prepared({{"bits_activations", 4}, {"overrides", overrides}, {"bits_sums", bits_sums}});
      CAPTURE(overrides.dump(), bits_sums.dump());
      InputGrids grids;
      {
        const Observing observing(grids);
        (*prepared.model)(images());
      }
      const auto work = prepared.work();
      REQUIRE(grids.bits.size() == 4);
      for (const auto& [layer, bits] : grids.bits) {
        CAPTURE(layer);
        CHECK(work.at(layer).input.bits == bits);
      }
      CHECK(work.at("conv1").input.of == (overrides == with_input ? "" : "conv1"));
      CHECK(work.at("conv3").input.of == "conv2");
      if (bits_sums.is_null()) CHECK(work.at("conv2").input.of == "pool1");
      CHECK(work.at("fc").input.of == "fc");  // what lies between drops the grid
    }
}

}  // namespace bit_operations_test
