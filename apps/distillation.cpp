// Loading the teacher, weighing the losses.
#include "apps/distillation.h"

#include "apps/experiment.h"
#include "apps/model_file.h"
#include "core/ops.h"

namespace qgrad {

Distillation::Distillation(const DistillationConfig& config)
    : config_(config),
      teacher_(config.model ? build_model(*config.model, /*seed=*/0, config.teacher)
                            : load_model(config.teacher, std::nullopt).model) {}

Tensor Distillation::loss(const Tensor& label_loss, const Tensor& logits, const Task& task, Inputs inputs,
                          double epoch) const {
  if (epoch < config_.from_epoch) return label_loss;
  const Tensor target = task.logits(teacher_(inputs));
  return add(mul_scalar(label_loss, config_.weight_student),
             mul_scalar(distillation_loss(logits, target, config_.temperature), config_.weight_distill));
}

}  // namespace qgrad
