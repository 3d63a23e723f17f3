// Quantization-aware training of NeuMF.

#include "core/ops.h"

#include <nlohmann/json.hpp>
#include "core/tape.h"
#include "nn/models/architecture.h"
#include "nn/optim/adam.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

struct Recommender {
  std::unique_ptr<Architecture> architecture = Registry<Architecture>::create(
      {{{"class", "neumf"}, {"users", 6}, {"items", 9}, {"layers", {16, 8, 4}}}, "", "model"});
  ModulePtr model = architecture->build(1);
};

ModulePtr quantized(const Json& members, Optimizer* optimizer = nullptr) {
  Recommender r;
  if (optimizer) optimizer->add_param_group({.name = "default", .parameters = all_parameters(*r.model)});
  Json config = {{"class", "NCFQuantAwareTrainQuantizer"}, {"bits_activations", 8}, {"bits_weights", 8}};
  config.update(members);
  quantizer_of(config)->prepare(r.model, optimizer, r.architecture->example());
  return std::move(r.model);
}

const Tensor kUsers = Tensor::from({4}, std::vector<float>{0, 5, 2, 2}),
             kItems = Tensor::from({4}, std::vector<float>{8, 0, 3, 4});

}  // namespace

TEST_CASE("a score of NeuMF is a matter of its user and its item alone") {
  Recommender r;
  const Tensor scores = (*r.model)(kUsers, kItems);
  CHECK(scores.shape() == Shape{4, 1});
  for (int64_t i = 0; i < 4; ++i)
    CHECK((*r.model)(slice(kUsers, 0, i, i + 1), slice(kItems, 0, i, i + 1)).item() ==
          Approx(scores.data()[static_cast<size_t>(i)]));
  CHECK_THROWS_AS((*r.model)(kUsers, Tensor::zeros({3})), Error);
  CHECK_THROWS_AS((*r.model)(kUsers, Tensor::full({4}, 9)), Error);
}

TEST_CASE("products, concatenations, linear layers and activations are quantized, the embeddings' indices are not") {
  const ModulePtr model = quantized(Json::object());
  for (const char* path : {"mf_mult", "mlp_concat", "mlp1", "relu1", "mlp2", "relu2", "final_concat", "final"})
    CHECK(find_module(*model, path)->kind() == "FakeQuantizationWrapper");
  CHECK(find_module(*model, "mf_user_embed")->kind() == "Embedding");
  CHECK(model->kind() == "NeuMF");
  for (const char* path : {"mf_user_embed.weight", "mlp_item_embed.weight", "mlp1.weight", "final.weight"})
    CHECK(parameter_at(*model, path).transform() != nullptr);
  CHECK(parameter_at(*model, "final.bias").transform() == nullptr);
}

TEST_CASE("overrides of a linear layer reach its output and its weight") {
  const ModulePtr model = quantized({{"overrides", {{"final", {{"bits_activations", nullptr}, {"bits_weights", 4}}}}}});
  CHECK(find_module(*model, "final")->kind() == "Linear");
  CHECK(dynamic_cast<Quantization&>(*parameter_at(*model, "final.weight").transform()).bits() == 4);
}

TEST_CASE("a quantized recommender learns whom to show what") {
  Adam optimizer({.lr = 0.02f});
  const ModulePtr model = quantized(Json::object(), &optimizer);
  const int32_t labels[] = {1, 0, 1, 0};
  float first = 0, last = 0;
  for (int step = 0; step < 600; ++step) {
    optimizer.zero_grad();
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor two[] = {Tensor::zeros({4, 1}), (*model)(kUsers, kItems)};
    const Tensor loss = softmax_cross_entropy(concat(two, 1), labels);
    tape.backward(loss);
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  CHECK(last < 0.3f * first);
}
