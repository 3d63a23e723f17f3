// Cross entropy against the teacher's probabilities, less their own entropy; squared distances of features.
#include "nn/distillation.h"

#include <algorithm>
#include <utility>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/ops.h"
#include "core/tape.h"

namespace qgrad {

Tensor distillation_loss(const Tensor& student, const Tensor& teacher, float temperature) {
  check(student.shape() == teacher.shape(), "distillation: the teacher gives {}, the student {}", teacher.shape(),
        student.shape());
  Tensor probabilities;
  float negative_entropy = 0;  // of the teacher, summed over the batch
  {
    const Tape::Paused paused;
    const Tensor log_probabilities = log_softmax(mul_scalar(teacher, 1 / temperature));
    probabilities = exp(log_probabilities);
    negative_entropy = dot(probabilities, log_probabilities).item();
  }
  const Tensor agreement = dot(log_softmax(mul_scalar(student, 1 / temperature)), probabilities);
  const float factor = temperature * temperature / static_cast<float>(all_rows(student.dim(0), student.is_part()));
  return mul_scalar(add_scalar(mul_scalar(agreement, -1), negative_entropy), factor);
}

Tensor feature_loss(std::span<const Tensor> student, std::span<const Tensor> teacher) {
  check(!student.empty() && student.size() == teacher.size(),
        "distillation: {} features of the student, {} of the teacher", student.size(), teacher.size());
  Tensor total;
  for (size_t i = 0; i < student.size(); ++i) {
    check(student[i].shape() == teacher[i].shape(), "distillation: a feature of the teacher is {}, the student's {}",
          teacher[i].shape(), student[i].shape());
    float size = 0;
    {
      const Tape::Paused paused;
      size = dot(teacher[i], teacher[i]).item();
    }
    // A teacher that gives zeros has no size to compare with.
    const Tensor distance = mul_scalar(squared_distance(student[i], teacher[i]), 1 / std::max(size, 1e-12f));
    total = total.defined() ? add(total, distance) : distance;
  }
  return mul_scalar(total, 1 / static_cast<float>(student.size()));
}

FeatureRecorder::FeatureRecorder(Module& model, const std::vector<std::string>& paths, std::string who)
    : who_(std::move(who)), paths_(paths), outputs_(paths.size()) {
  for (const std::string& path : paths) {
    const Module* module = find_module(model, path);
    check(module, "distillation.features: the {} has no module '{}'", who_, path);
    modules_.push_back(module);
  }
}

void FeatureRecorder::leave(Module& module, Inputs, const Tensor& y) {
  for (size_t i = 0; i < modules_.size(); ++i)
    if (modules_[i] == &module) outputs_[i] = y;
}

std::vector<Tensor> FeatureRecorder::take() {
  for (size_t i = 0; i < paths_.size(); ++i)
    check(outputs_[i].defined(), "distillation.features: '{}' of the {} was not called", paths_[i], who_);
  return std::exchange(outputs_, std::vector<Tensor>(paths_.size()));
}

Teacher::Teacher(ModulePtr model) : model_(std::move(model)) {
  model_->set_training(false);
  for (Parameter* p : all_parameters(*model_)) p->raw().set_requires_grad(false);
}

// Under a tape, so that convolutions may round as a training's, which is faster (core/ops/conv.cpp); it records
// nothing.
Tensor Teacher::operator()(Inputs x) const {
  Tape tape;
  const Tape::Recording recording(tape);
  return model_->call(x);
}

}  // namespace qgrad
