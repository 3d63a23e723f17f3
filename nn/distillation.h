// The loss of knowledge distillation (Hinton et al., "Distilling the Knowledge in a Neural Network", 2015).
#pragma once

#include "core/tensor.h"

namespace qgrad {

// T^2 KL(softmax(teacher / T) || softmax(student / T)), the mean over the batch; logits [N, classes]. The gradient goes
// to the student only. (Distiller knowledge_distillation.py)
Tensor distillation_loss(const Tensor& student, const Tensor& teacher, float temperature);

}  // namespace qgrad
