// The config of knowledge distillation, and the loss that it makes of the student's own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"
#include "nn/distillation.h"
#include "nn/models/architecture.h"
#include "tasks/data_description.h"
#include "tasks/task.h"

namespace qgrad {

struct DistillationConfig {
  std::string teacher;
  std::optional<ClassConfig<Architecture>> model;
  float weight_student = 0.5f, weight_distill = 0.5f;
  float temperature = 1;
  std::vector<std::string> features;
  float weight_features = 1;
  std::optional<double> features_until;
  double from_epoch = 0;
};
inline void fields(Fields& v, DistillationConfig& c) {
  v("teacher", c.teacher, {.help = "checkpoint of the teacher", .required = true});
  v("model", c.model, {.help = "the teacher's class and settings; null: as its checkpoint says"});
  v("weight_student", c.weight_student, {.help = "factor of the loss against the labels", .min = 0});
  v("weight_distill", c.weight_distill, {.help = "factor of the loss against the teacher", .min = 0});
  v("temperature", c.temperature, {.help = "divides both sides' logits", .min = 0, .above_min = true});
  v("features", c.features, {.help = "paths of modules whose outputs are targets too, in student and teacher"});
  v("weight_features", c.weight_features, {.help = "factor of the loss against these", .min = 0});
  v("features_until", c.features_until,
    {.help = "epoch at which that factor has fallen to 0, along a line; null: it stays", .min = 0, .above_min = true});
  v("from_epoch", c.from_epoch, {.help = "epoch from which the teacher is asked", .min = 0});
}

class Distillation {
 public:
  // The student must outlive it, and gets what `data` describe. The teacher sees the same images, normalised as it was
  // trained. Throws where it was trained on other images or classes.
  Distillation(const DistillationConfig& config, Module& student, const DataDescription& data);

  // Calls the student, and remembers its features for loss().
  Tensor call_student(Inputs inputs);

  // weight_student * label_loss + weight_distill * distillation_loss + weight_features * feature_loss
  // (nn/distillation.h) for the last call of the student, or label_loss itself before from_epoch. weight_features falls
  // to 0 until features_until, so that features guide the beginning alone, as FitNets' hints do.
  Tensor loss(const Tensor& label_loss, const Tensor& logits, const Task& task, Inputs inputs, double epoch);

 private:
  DistillationConfig config_;
  Module& student_;
  Teacher teacher_;
  Tensor factor_, offset_;  // from the student's normalisation to the teacher's, [C]; undefined where they are equal
  FeatureRecorder student_features_, teacher_features_;
};

}  // namespace qgrad
