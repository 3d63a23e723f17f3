// Asking the teacher.
#include "apps/distillation.h"

#include "apps/experiment.h"
#include "apps/model_file.h"
#include "core/ops.h"
#include "core/tape.h"
#include "nn/distillation.h"

namespace qgrad {

Teacher::Teacher(const DistillationConfig& config)
    : config_(config),
      model_(config.model ? build_model(*config.model, /*seed=*/0, config.teacher)
                          : load_model(config.teacher, std::nullopt).model) {
  model_->set_training(false);
}

Tensor Teacher::loss(const Tensor& label_loss, const Tensor& logits, const Tensor& images, double epoch) {
  if (epoch < config_.from_epoch) return label_loss;
  Tensor target;
  {
    const Tape::Paused paused;
    target = (*model_)(images);
  }
  return add(mul_scalar(label_loss, config_.weight_student),
             mul_scalar(distillation_loss(logits, target, config_.temperature), config_.weight_distill));
}

}  // namespace qgrad
