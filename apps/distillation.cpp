// Loading the teacher, weighing the losses.
#include "apps/distillation.h"

#include "apps/experiment.h"
#include "apps/model_file.h"
#include "core/ops.h"

namespace qgrad {

Distillation::Distillation(const DistillationConfig& config, Module& student)
    : config_(config),
      student_(student),
      teacher_(config.model ? build_model(*config.model, /*seed=*/0, config.teacher)
                            : load_model(config.teacher, std::nullopt).model),
      student_features_(student, config.features, "student"),
      teacher_features_(teacher_.model(), config.features, "teacher") {}

Tensor Distillation::call_student(Inputs inputs) {
  const Observing observing(student_features_);
  return student_.call(inputs);
}

Tensor Distillation::loss(const Tensor& label_loss, const Tensor& logits, const Task& task, Inputs inputs,
                          double epoch) {
  const std::vector<Tensor> features = student_features_.take();
  if (epoch < config_.from_epoch) return label_loss;
  Tensor target;
  {
    const Observing observing(teacher_features_);
    target = task.logits(teacher_(inputs));
  }
  const Tensor loss = add(mul_scalar(label_loss, config_.weight_student),
                          mul_scalar(distillation_loss(logits, target, config_.temperature), config_.weight_distill));
  if (features.empty()) return loss;
  return add(loss, mul_scalar(feature_loss(features, teacher_features_.take()), config_.weight_features));
}

}  // namespace qgrad
