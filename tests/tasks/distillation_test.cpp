// The losses of a training with a teacher, weighed as its config says.
#include "tasks/distillation.h"

#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "nn/checkpoint.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/temporary_folder.h"
#include "support/values.h"
#include "tasks/experiment.h"

using namespace qgrad;

namespace {

// Of a task, the losses need only how logits are read from outputs.
struct OutputsAreLogits final : Task {
  int64_t training_examples() const override { return 0; }
  std::unique_ptr<Batches> training(int, const std::optional<uint64_t>&) const override { return nullptr; }
  bool has(Part) const override { return false; }
  Json evaluate(Module&, Part, const std::string&) const override { return {}; }
  std::string score() const override { return ""; }
  Json describe() const override { return {}; }
  Json checksums() const override { return {}; }
  DataDescription description() const override { return {}; }
  Json data() const override { return {}; }
};

}  // namespace

TEST_CASE("the weight of the features falls along a line and is 0 from its last epoch on") {
  const test::TemporaryFolder folder;
  const Config net{{{"class", "convnet"}, {"width", 4}}, "", "model"};
  const std::string file = (folder.path() / "teacher.safetensors").string();
  save_checkpoint(file, *build_model(net, /*seed=*/1, std::nullopt), {});
  const ModulePtr student = build_model(net, /*seed=*/2, std::nullopt);
  const Tensor x = test::normal_tensor({6, 8, 8, 1}, 3), label_loss = Tensor::full({}, 2);
  const auto loss_at = [&](double epoch, DistillationConfig config) {
    config.teachers = {{.checkpoint = file, .model = net}};
    Distillation distillation(config, *student, {});
    const Tensor logits = distillation.call_student({&x, 1});
    return distillation.loss(label_loss, logits, OutputsAreLogits(), {&x, 1}, epoch).item();
  };
  const DistillationConfig logits_only{.weight_student = 0.25f, .weight_distill = 0.5f, .temperature = 4};
  DistillationConfig guided = logits_only;
  guided.features = {"relu1", "relu3"};
  guided.weight_features = 3;
  const float without = loss_at(0, logits_only), features = loss_at(0, guided) - without;
  CHECK(without > 0.25f * 2);
  CHECK(features > 0.1f);
  CHECK(loss_at(100, guided) - without == Approx(features));

  guided.features_until = 6;
  CHECK(loss_at(0, guided) - without == Approx(features));
  CHECK(loss_at(1.5, guided) - without == Approx(0.75 * features));
  CHECK(loss_at(5.4, guided) - without == Approx(0.1 * features).epsilon(1e-3));
  CHECK(loss_at(6, guided) == without);
  CHECK(loss_at(9, guided) == without);

  guided.from_epoch = 2;  // the teacher is not asked before it
  CHECK(loss_at(1.9, guided) == 2);
  CHECK(loss_at(3, guided) - without == Approx(0.5 * features));
}

TEST_CASE("the mean of several teachers' logits is the target, each with its own normalisation") {
  const test::TemporaryFolder folder;
  const Config net{{{"class", "convnet"}, {"width", 4}}, "", "model"};
  const auto model = [&](uint64_t seed) { return build_model(net, seed, std::nullopt); };
  const auto saved = [&](uint64_t seed) {
    const std::string file = (folder.path() / (std::to_string(seed) + ".safetensors")).string();
    save_checkpoint(file, *model(seed), {});
    return TeacherConfig{.checkpoint = file, .model = net};
  };
  const ModulePtr student = model(1);
  const DataDescription data{.image = {8, 8, 1}, .mean = {0.5f}, .std = {0.25f}};
  const Tensor x = test::normal_tensor({6, 8, 8, 1}, 3), zero = Tensor::zeros({});
  const auto loss_of = [&](std::vector<TeacherConfig> teachers, std::vector<std::string> features = {}) {
    const DistillationConfig config{
        .teachers = std::move(teachers), .weight_student = 0, .weight_distill = 1, .features = std::move(features)};
    Distillation distillation(config, *student, data);
    const Tensor logits = distillation.call_student({&x, 1});
    return distillation.loss(zero, logits, OutputsAreLogits(), {&x, 1}, 0).item();
  };
  const auto logits = [](const ModulePtr& m, const Tensor& images) {
    m->set_training(false);
    return (*m)(images);
  };
  TeacherConfig renormalised = saved(3);
  renormalised.mean = {0.25f}, renormalised.std = {0.5f};
  const Tensor theirs = add_scalar(mul_scalar(x, 0.25f / 0.5f), (0.5f - 0.25f) / 0.5f);
  const Tensor mean = mul_scalar(add(logits(model(2), x), logits(model(3), theirs)), 0.5f);
  CHECK(loss_of({saved(2), renormalised}) == Approx(distillation_loss((*student)(x), mean, 1).item()));

  const auto error = [&](std::vector<TeacherConfig> teachers, std::vector<std::string> features = {}) {
    return test::error_of([&] { loss_of(std::move(teachers), std::move(features)); });
  };
  CHECK(error({}) == "distillation.teachers: expected at least one");
  CHECK(error({saved(2), saved(3)}, {"relu1"}) ==
        "distillation.features: the features of one teacher can be targets, not of 2");
  renormalised.std = {};
  CHECK_THAT(error({renormalised}), Contains("3.safetensors: expected 1 numbers each of mean and std, got 1 and 0"));
  renormalised.std = {0.5f, 0.5f};
  CHECK_THAT(error({renormalised}), Contains("got 1 and 2"));
  TeacherConfig of_two = saved(4);
  of_two.model->json()["classes"] = 2;
  save_checkpoint(of_two.checkpoint, *build_model(*of_two.model, 4, std::nullopt), {});
  CHECK_THAT(error({saved(2), of_two}), Contains("4.safetensors gives [6,2], the student [6,10]"));
}
