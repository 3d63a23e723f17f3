// Loading the teacher, weighing the losses.
#include "tasks/distillation.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/ops.h"
#include "tasks/experiment.h"
#include "tasks/image_settings.h"
#include "tasks/model_file.h"

namespace qgrad {

Distillation::Distillation(const DistillationConfig& config, Module& student, const DataDescription& data)
    : config_(config),
      student_(student),
      teacher_(config.model ? build_model(with_data(*config.model, data), /*seed=*/0, config.teacher)
                            : load_model(config.teacher, std::nullopt).model),
      student_features_(student, config.features, "student"),
      teacher_features_(teacher_.model(), config.features, "teacher") {
  check(!config.features_until || (!config.features.empty() && *config.features_until > config.from_epoch),
        "distillation.features_until: no features would count, with {} of them, from epoch {} until epoch {}",
        config.features.size(), config.from_epoch, config.features_until.value_or(0));
  Described theirs = described(config.teacher);
  // (x std + mean - teacher's mean) / teacher's std: the same bytes as the teacher was trained to see them.
  const std::vector<float> mean = std::exchange(theirs.data.mean, {}), std = std::exchange(theirs.data.std, {});
  theirs.whose = "the teacher " + theirs.whose;
  check_agree({"the student's data", data}, theirs);
  if (mean.empty() || data.mean.empty() || (mean == data.mean && std == data.std)) return;
  std::vector<float> factor, offset;
  for (size_t c = 0; c < mean.size(); ++c) {
    factor.push_back(data.std.at(c) / std[c]);
    offset.push_back((data.mean.at(c) - mean[c]) / std[c]);
  }
  factor_ = Tensor::from({std::ssize(factor)}, factor);
  offset_ = Tensor::from({std::ssize(offset)}, offset);
}

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
    if (!factor_.defined()) {
      target = task.logits(teacher_(inputs));
    } else {
      const Tensor renormalised = add(mul(inputs[0], factor_), offset_);
      target = task.logits(teacher_({&renormalised, 1}));
    }
  }
  const Tensor loss = add(mul_scalar(label_loss, config_.weight_student),
                          mul_scalar(distillation_loss(logits, target, config_.temperature), config_.weight_distill));
  const double left = config_.features_until ? std::max(0.0, 1 - epoch / *config_.features_until) : 1.0;
  if (features.empty() || left == 0) return loss;
  const float weight = config_.weight_features * static_cast<float>(left);
  return add(loss, mul_scalar(feature_loss(features, teacher_features_.take()), weight));
}

}  // namespace qgrad
