// Knowledge distillation: the teacher, and the losses against its outputs (Hinton et al., "Distilling the Knowledge in
// a Neural Network", 2015) and against what its inner modules give (Romero et al., "FitNets: Hints for Thin Deep Nets",
// 2015).
#pragma once

#include <string>
#include <vector>

#include "nn/module.h"

namespace qgrad {

// T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch; logits [N, classes]. The gradient goes
// to the student only. (Distiller knowledge_distillation.py)
Tensor distillation_loss(const Tensor& student, const Tensor& teacher, float temperature);

// The mean over the features of |student - teacher|^2 / |teacher|^2, so that features of all sizes count alike: 1 is a
// student that gives zeros. FitNets has |student - teacher|^2 / 2 of one feature and a layer that adapts its shape;
// here the shapes are the same. The gradient goes to the student only.
Tensor feature_loss(std::span<const Tensor> student, std::span<const Tensor> teacher);

// Keeps what some modules of a model give, while an Observing of it is alive.
class FeatureRecorder final : public CallObserver {
 public:
  // Throws where `paths` names what the model has not; `who` is the model's name in errors.
  FeatureRecorder(Module& model, const std::vector<std::string>& paths, std::string who);
  void leave(Module& module, Inputs x, const Tensor& y) override;
  // The outputs of the last calls, in the order of the paths. Keeps none of them.
  std::vector<Tensor> take();

 private:
  std::string who_;
  std::vector<std::string> paths_;
  std::vector<const Module*> modules_;
  std::vector<Tensor> outputs_;
};

// A trained model whose outputs are targets: in evaluation mode (its batch norms use running statistics and keep them),
// and never recorded.
class Teacher {
 public:
  explicit Teacher(ModulePtr model);
  Tensor operator()(Inputs x) const;
  Module& model() const { return *model_; }

 private:
  ModulePtr model_;
};

}  // namespace qgrad
