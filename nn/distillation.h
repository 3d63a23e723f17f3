// Knowledge distillation: the teacher, and the loss against it (Hinton et al., "Distilling the Knowledge in a Neural
// Network", 2015).
#pragma once

#include "nn/module.h"

namespace qgrad {

// T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch; logits [N, classes]. The gradient goes
// to the student only. (Distiller knowledge_distillation.py)
Tensor distillation_loss(const Tensor& student, const Tensor& teacher, float temperature);

// A trained model whose outputs are targets: in evaluation mode (its batch norms use running statistics and keep them),
// and never recorded.
class Teacher {
 public:
  explicit Teacher(ModulePtr model);
  Tensor operator()(Inputs x) const;

 private:
  ModulePtr model_;
};

}  // namespace qgrad
