// Loading the teacher, weighing the losses.
#include "tasks/distillation.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/ops.h"
#include "core/tape.h"
#include "tasks/experiment.h"
#include "tasks/image_settings.h"
#include "tasks/model_file.h"

namespace qgrad {

TaskTeacher::TaskTeacher(const TeacherConfig& config, const DataDescription& data)
    : teacher_(config.model ? build_model(with_data(*config.model, data), /*seed=*/0, config.checkpoint)
                            : load_model(config.checkpoint, std::nullopt).model) {
  Described theirs = described(config.checkpoint);
  theirs.whose = "the teacher " + theirs.whose;
  if (!config.mean.empty() || !config.std.empty()) {
    const size_t channels = data.mean.size();
    check(theirs.data.mean.empty(),
          "distillation.teachers: {} says itself how its images are normalised: leave out mean "
          "and std",
          config.checkpoint);
    check(config.mean.size() == channels && config.std.size() == channels,
          "distillation.teachers: {}: expected {} numbers each of mean and std, got {} and {}", config.checkpoint,
          channels, config.mean.size(), config.std.size());
  }
  // (x std + mean - teacher's mean) / teacher's std: the same bytes as the teacher was trained to see them.
  std::vector<float> mean = std::exchange(theirs.data.mean, {}), std = std::exchange(theirs.data.std, {});
  if (!config.mean.empty()) mean = config.mean, std = config.std;
  check_agree({"the student's data", data}, theirs);
  if (mean.empty() || data.mean.empty() || (mean == data.mean && std == data.std)) return;
  std::vector<float> factor, offset;
  for (size_t c = 0; c < mean.size(); ++c) {
    factor.push_back(data.std.at(c) / std.at(c));
    offset.push_back((data.mean.at(c) - mean[c]) / std.at(c));
  }
  factor_ = Tensor::from({std::ssize(factor)}, factor);
  offset_ = Tensor::from({std::ssize(offset)}, offset);
}

Tensor TaskTeacher::logits(const Task& task, Inputs inputs) const {
  if (!factor_.defined()) return task.logits(teacher_(inputs));
  const Tensor renormalised = add(mul(inputs[0], factor_), offset_);
  return task.logits(teacher_({&renormalised, 1}));
}

Distillation::Distillation(const DistillationConfig& config, Module& student, const DataDescription& data)
    : config_(config), student_(student), student_features_(student, config.features, "student") {
  check(!config.teachers.empty(), "distillation.teachers: expected at least one");
  for (const TeacherConfig& teacher : config.teachers) teachers_.emplace_back(teacher, data);
  if (!config.features.empty()) {
    check(teachers_.size() == 1, "distillation.features: the features of one teacher can be targets, not of {}",
          teachers_.size());
    teacher_features_.emplace(teachers_[0].model(), config.features, "teacher");
  }
  check(!config.features_until || (!config.features.empty() && *config.features_until > config.from_epoch),
        "distillation.features_until: no features would count, with {} of them, from epoch {} until epoch {}",
        config.features.size(), config.from_epoch, config.features_until.value_or(0));
}

Tensor Distillation::call_student(Inputs inputs) {
  const Observing observing(student_features_);
  return student_.call(inputs);
}

Tensor Distillation::loss(const Tensor& label_loss, const Tensor& logits, const Task& task, Inputs inputs,
                          double epoch) {
  const std::vector<Tensor> features = student_features_.take();
  if (epoch < config_.from_epoch) return label_loss;
  const double of_features = config_.features_until ? std::max(0.0, 1 - epoch / *config_.features_until) : 1.0;
  const double left = features.empty() ? 0.0 : of_features;
  Tensor target;
  {
    const Tape::Paused paused;
    std::optional<Observing> observing;
    if (left > 0) observing.emplace(*teacher_features_);
    for (size_t i = 0; i < teachers_.size(); ++i) {
      const Tensor theirs = teachers_[i].logits(task, inputs);
      check(theirs.shape() == logits.shape(), "distillation.teachers: {} gives {}, the student {}",
            config_.teachers[i].checkpoint, theirs.shape(), logits.shape());
      target = target.defined() ? add(target, theirs) : theirs;
    }
    if (teachers_.size() > 1) target = mul_scalar(target, 1 / static_cast<float>(teachers_.size()));
  }
  Tensor loss = add(mul_scalar(label_loss, config_.weight_student),
                    mul_scalar(distillation_loss(logits, target, config_.temperature), config_.weight_distill));
  if (left == 0) return loss;
  const float weight = config_.weight_features * static_cast<float>(left);
  return add(loss, mul_scalar(feature_loss(features, teacher_features_->take()), weight));
}

}  // namespace qgrad
