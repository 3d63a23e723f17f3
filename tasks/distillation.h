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

struct TeacherConfig {
  std::string checkpoint;
  std::optional<ClassConfig<Architecture>> model;
  std::vector<float> mean, std;
};
inline void fields(Fields& v, TeacherConfig& c) {
  v("checkpoint", c.checkpoint, {.help = "a trained network", .required = true});
  v("model", c.model, {.help = "its class and settings; null: as its checkpoint says"});
  v("mean", c.mean, {.help = "for each channel, of byte/255, where its file has none; []: the student's"});
  v("std", c.std, {.help = "the same for the deviation", .min = 0, .above_min = true});
}

struct DistillationConfig {
  std::vector<TeacherConfig> teachers;
  float weight_student = 0.5f, weight_distill = 0.5f;
  float temperature = 1;
  std::vector<std::string> features;
  float weight_features = 1;
  std::optional<double> features_until;
  double from_epoch = 0;
};
inline void fields(Fields& v, DistillationConfig& c) {
  v("teachers", c.teachers, {.help = "the mean of their logits is the target", .required = true});
  v("weight_student", c.weight_student, {.help = "factor of the loss against the labels", .min = 0});
  v("weight_distill", c.weight_distill, {.help = "factor of the loss against the teachers", .min = 0});
  v("temperature", c.temperature, {.help = "divides both sides' logits", .min = 0, .above_min = true});
  v("features", c.features,
    {.help = "paths of modules whose outputs are targets too, in student and teacher, of which there is one then"});
  v("weight_features", c.weight_features, {.help = "factor of the loss against these", .min = 0});
  v("features_until", c.features_until,
    {.help = "epoch at which that factor has fallen to 0, along a line; null: it stays", .min = 0, .above_min = true});
  v("from_epoch", c.from_epoch, {.help = "epoch from which the teachers are asked", .min = 0});
}

// A teacher that sees the student's images, normalised as it was trained.
class TaskTeacher {
 public:
  // Throws where it was trained on other images or classes than `data` describe.
  TaskTeacher(const TeacherConfig& config, const DataDescription& data);

  Tensor logits(const Task& task, Inputs inputs) const;
  Module& model() const { return teacher_.model(); }

 private:
  Teacher teacher_;
  Tensor factor_, offset_;  // from the student's normalisation to the teacher's, [C]; undefined where they are equal
};

class Distillation {
 public:
  // The student must outlive it, and gets what `data` describe.
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
  std::vector<TaskTeacher> teachers_;
  FeatureRecorder student_features_;
  std::optional<FeatureRecorder> teacher_features_;  // where features are asked for
};

}  // namespace qgrad
