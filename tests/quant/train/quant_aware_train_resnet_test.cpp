// Quantization-aware training of a trained ResNet-20 on real CIFAR-10 images.
#include <algorithm>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/ops.h"
#include "core/tape.h"
#include "data/cifar10.h"
#include "nn/checkpoint.h"
#include "nn/models/architecture.h"
#include "nn/optim/sgd.h"
#include "quant/post_train/linear.h"
#include "quant/post_train/post_train_golden.h"
#include "quant/ranges/stats.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;

namespace {

constexpr int64_t kPixels = 32 * 32 * 3;

std::filesystem::path trained_file() { return golden::shared_file("models/distiller_resnet20_cifar10.safetensors"); }
std::filesystem::path cifar_file(const std::string& name) {
  const char* chosen = std::getenv("QGRAD_DATA");
  return (chosen ? std::filesystem::path(chosen) : golden::shared_file("cifar-10-batches-bin")) / name;
}
ImageSet images_of(const std::vector<std::string>& files) {
  ImageSet set{.image = {32, 32, 3}};
  for (const std::string& file : files) read_cifar10_batch(cifar_file(file), set);
  return set;
}

// Images first .. first + count - 1 as (byte / 255 - 0.5) / 0.5.
Tensor pixels(const ImageSet& set, int64_t first, int64_t count) {
  Tensor x = Tensor::empty({count, 32, 32, 3});
  const std::span<float> out = x.mutable_data();
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = (static_cast<float>(set.pixels[static_cast<size_t>(first * kPixels) + i]) / 255.0f - 0.5f) / 0.5f;
  return x;
}
std::span<const int32_t> labels(const ImageSet& set, int64_t first, int64_t count) {
  return std::span(set.labels).subspan(static_cast<size_t>(first), static_cast<size_t>(count));
}

ModulePtr trained_resnet() {
  ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->make();
  load_state(*model, read_checkpoint(trained_file()));
  return model;
}

// The class of each of the first `count` images, the lower one of equals.
std::vector<int32_t> predictions(Module& model, const ImageSet& set, int64_t count) {
  model.set_training(false);
  std::vector<int32_t> classes;
  for (int64_t first = 0; first < count; first += 200) {
    const Tensor logits = model(pixels(set, first, std::min<int64_t>(200, count - first)));
    for (size_t row = 0; row < logits.data().size(); row += 10) {
      const auto scores = logits.data().subspan(row, 10);
      classes.push_back(static_cast<int32_t>(std::ranges::max_element(scores) - scores.begin()));
    }
  }
  return classes;
}
double top1(const std::vector<int32_t>& classes, const ImageSet& set) {
  int hits = 0;
  for (size_t i = 0; i < classes.size(); ++i) hits += classes[i] == set.labels[i];
  return 100.0 * hits / static_cast<double>(classes.size());
}

bool material_is_here() {
  if (golden::available(trained_file()) && golden::available(cifar_file("test_batch.bin")) &&
      golden::available(cifar_file("data_batch_1.bin")) && golden::available(cifar_file("data_batch_2.bin")))
    return true;
  golden::leave_unopened("10_resnet20_cifar10");
  return false;
}

// The first steps of a case, with weights that are so much larger at first. Returns the accuracy on 2,000 images where
// all steps are asked for.
std::optional<double> check_training(const Json& c, size_t steps, float larger) {
  const ImageSet train = images_of({"data_batch_1.bin", "data_batch_2.bin"});
  const Json &in = c.at("inputs"), &expected = c.at("expected");
  const Json& losses = expected.at("train_loss");
  Json config = {{"class", in.at("quantizer")}, {"overrides", Json::object()}};
  if (config["class"] == "DorefaQuantizer") config["act_clip_val"] = 1;
  config.update(in.at("args"));
  for (const Json& entry : in.at("overrides")) config["overrides"][entry[0].get<std::string>()] = entry[1];
  const Json& sgd = in.at("sgd");
  Sgd optimizer({.lr = golden::number(sgd.at("lr")),
                 .momentum = golden::number(sgd.at("momentum")),
                 .weight_decay = golden::number(sgd.at("weight_decay"))});
  ModulePtr model = trained_resnet();
  for (Parameter* p : all_parameters(*model))
    for (float& w : p->raw().mutable_data()) w *= 1 + larger;
  optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
  golden::distiller_quantizer_of(config)->prepare(model, &optimizer, pixels(train, 0, 1));
  double total = 0, expected_total = 0;
  const auto batch = in.at("batch").get<int64_t>();
  for (size_t step = 0; step < std::min(steps, losses.size()); ++step) {
    optimizer.zero_grad();
    Tape tape;
    const Tape::Recording recording(tape);
    const auto first = static_cast<int64_t>(step) * batch;
    const Tensor loss = softmax_cross_entropy((*model)(pixels(train, first, batch)), labels(train, first, batch));
    if (step == 0) CHECK(std::abs(loss.item() - losses[0].get<double>()) < 0.005);
    tape.backward(loss);
    optimizer.step();
    total += loss.item();
    expected_total += losses[step].get<double>();
  }
  if (steps < losses.size()) return std::nullopt;
  CHECK(total == Approx(expected_total).epsilon(0.03));
  const ImageSet test = images_of({"test_batch.bin"});
  return top1(predictions(*model, test, 2000), test);
}

}  // namespace

TEST_CASE("before its first step, training from statistics is as accurate as post-training quantization with them") {
  if (!material_is_here()) return;
  const ImageSet test = images_of({"test_batch.bin"});
  const std::optional<Json> statistics = golden::load("10_resnet20_cifar10_stats");
  if (!statistics) return;
  const Json stats = golden::stats_object(statistics->at("stats"));
  const Json common = {{"bits_activations", 8},
                       {"bits_weights", 8},
                       {"mode", "ASYMMETRIC_UNSIGNED"},
                       {"per_channel_wts", true},
                       {"model_activation_stats", stats}};
  const auto prepared = [&](const char* quantizer) {
    Json config = common;
    config["class"] = quantizer;
    ModulePtr model = trained_resnet();
    golden::quantizer_of(config)->prepare(model, nullptr, pixels(test, 0, 1));
    return model;
  };
  const int64_t count = 400;
  const std::vector<int32_t> after = predictions(*prepared("PostTrainLinearQuantizer"), test, count),
                             before = predictions(*prepared("QuantAwareTrainRangeLinearQuantizer"), test, count);
  CHECK(std::abs(top1(after, test) - top1(before, test)) <= 0.5);
  CHECK(top1(before, test) > 89);
  int same = 0;
  for (size_t i = 0; i < after.size(); ++i) same += after[i] == before[i];
  CHECK(same >= 0.98 * static_cast<double>(count));
}

TEST_CASE("golden 10: the first step on CIFAR-10 has the loss that it has in Distiller", "[cifar]") {
  if (!material_is_here()) return;
  golden::for_each_case("10_resnet20_cifar10_qat", [&](const Json&, const Json& c) {
    check_training(c, 1, 0);
    return golden::kCompared;
  });
}

// A rounding at first is another network in the end: at 4 bits three of our trainings are 0.65 points apart,
// Distiller's two, one with the images of its batches reversed, 0.35. So means are compared.
TEST_CASE("golden 10: a hundred steps on CIFAR-10 as Distiller makes them", "[.][cifar][slow]") {
  if (!material_is_here()) return;
  golden::for_each_case("10_resnet20_cifar10_qat", [&](const Json&, const Json& c) {
    double ours = 0;
    for (const float larger : {0.0f, 1e-6f, 2e-6f})
      ours += *check_training(c, std::numeric_limits<size_t>::max(), larger) / 3;
    const Json& expected = c.at("expected");
    const auto top1_of = [](const Json& run) { return run.at("after").at("top1").get<double>(); };
    const bool dorefa = c.at("inputs").at("quantizer") == "DorefaQuantizer";
    CHECK(std::abs(ours - (top1_of(expected) + top1_of(expected.at("reversed"))) / 2) <= (dorefa ? 2 : 1));
    return golden::kCompared;
  });
}
