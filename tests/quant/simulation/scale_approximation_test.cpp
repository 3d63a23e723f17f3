// Which scales scale_approx_mult_bits approximates, in numbers computed by hand: those of inputs and outputs, those of
// accumulators of layers with weights, and factors from accumulators to outputs; no others.
#include "nn/layers/eltwise.h"

#include <nlohmann/json.hpp>
#include "nn/layers/embedding.h"
#include "quant/post_train/linear.h"
#include "quant/simulation/eltwise.h"
#include "quant/simulation/embedding.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

// One layer of two inputs.
struct Binary final : Module {
  explicit Binary(ModulePtr of) : layer(*this, "layer", std::move(of)) { set_training(false); }
  std::string_view kind() const override { return "Binary"; }
  Child layer;

 protected:
  Tensor forward(Inputs x) override { return layer(x[0], x[1]); }
};

Tensor matrix(float value) { return Tensor::full({1, 1}, value); }

// Unsigned 8 bits, multipliers of 3 bits. Static: calibrated on inputs from 0 to 3 and from 0 to 10.
ModulePtr approximated(ModulePtr layer, bool is_static) {
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>(
      {{{"rounding", "distiller"}, {"mode", "ASYMMETRIC_UNSIGNED"}, {"scale_approx_mult_bits", 3}}, "", "quantizer"}));
  ModulePtr net = std::make_unique<Binary>(std::move(layer));
  const std::vector<Tensor> least{matrix(0), matrix(0)}, most{matrix(3), matrix(10)};
  if (is_static)
    quantizer.set_stats(collect_quant_stats(*net, [&] {
      net->call(least);
      net->call(most);
    }));
  quantizer.prepare(net, nullptr, least);
  net->set_training(false);
  return net;
}

float output_of(Module& net, float x, float y) { return net.call(std::vector{matrix(x), matrix(y)}).data()[0]; }

float accumulator_scale(Module& net, float x, float y) {
  const auto& layer = dynamic_cast<RangeLinearQuantProductWrapper&>(*find_module(net, "layer"));
  return layer.accumulator_scale(std::vector{layer.input_grid(0, matrix(x)), layer.input_grid(1, matrix(y))});
}

}  // namespace

TEST_CASE("a product's accumulator has the exact product of its inputs' scales, which are approximated") {
  // 255 / 3 = 85 is approximated as 5 * 16, 255 / 10 as 6 * 4; their product 1920 would become 1536. The output's
  // 255 / 30 is 4 * 2, and 8 / 1920 becomes 4 / 1024; 2 and 9 are 160 and 216, and 34560 * 4 / 1024 = 135.
  std::vector<ModulePtr> products;
  products.push_back(std::make_unique<EltwiseMult>());
  products.push_back(std::make_unique<Matmul>());
  products.push_back(std::make_unique<BatchMatmul>());
  for (ModulePtr& product : products) {
    INFO(product->kind());
    const ModulePtr net = approximated(std::move(product), true);
    CHECK(accumulator_scale(*net, 2, 9) == 1920);
    CHECK(output_of(*net, 2, 9) == 135.0f / 8);
  }
}

TEST_CASE("so it has where scales are those of the values that arrive") {
  // 255 / 2 is approximated as 3 * 32 and 255 / 9 as 3 * 8: accumulators of scale 2304 hold 192 * 216 = 41472, that is
  // 18. The output's 255 / 18 is 3 * 4, 12 / 2304 becomes 5 / 1024, and 41472 * 5 / 1024 = 202.5, half to even.
  for (const bool batch : {false, true}) {
    ModulePtr product = batch ? ModulePtr(std::make_unique<BatchMatmul>()) : std::make_unique<Matmul>();
    const ModulePtr net = approximated(std::move(product), false);
    CHECK(accumulator_scale(*net, 2, 9) == 2304);
    CHECK(output_of(*net, 2, 9) == 202.0f / 12);
  }
}

TEST_CASE("a sum's inputs come to the output's scale by the exact factor") {
  // The output's 255 / 13 is 4 * 4; 160 * 16 / 80 + 216 * 16 / 24 = 176, where approximated factors would give 165.
  CHECK(output_of(*approximated(std::make_unique<EltwiseAdd>(), true), 2, 9) == 11);
}

TEST_CASE("an embedding's scale is exact, and its range is cut where ranges of weights are") {
  // One row for each index: the mean of the rows' largest values is 4, the largest of all is 7.
  const auto scale = [](const Json& config) {
    auto table = std::make_unique<Embedding>(2, 2);
    table->weight.set_raw(Tensor::from({2, 2}, std::vector<float>{0, 1, 7, 0}));
    ModulePtr net = std::move(table);
    net->set_training(false);
    Json all = {{"rounding", "distiller"}, {"mode", "ASYMMETRIC_UNSIGNED"}, {"scale_approx_mult_bits", 3}};
    all.update(config);
    PostTrainLinearQuantizer(read_config<PostTrainLinearConfig>({all, "", "quantizer"}))
        .prepare(net, nullptr, Tensor::zeros({1}));
    return dynamic_cast<RangeLinearEmbeddingWrapper&>(*net).weight_grid().scale;
  };
  CHECK(scale(Json::object()) == (1 / 7.0f) * 255);
  CHECK(scale({{"clip_acts", "AVG"}}) == (1 / 7.0f) * 255);
  CHECK(scale({{"clip_acts", "AVG"}, {"also_clip_weights", true}}) == (1 / 4.0f) * 255);
}
