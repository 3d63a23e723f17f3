// Cross entropy against the teacher's probabilities, less their own entropy.
#include "nn/distillation.h"

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
    negative_entropy = sum(mul(probabilities, log_probabilities)).item();
  }
  const Tensor agreement = sum(mul(log_softmax(mul_scalar(student, 1 / temperature)), probabilities));
  const float factor = temperature * temperature / static_cast<float>(student.dim(0));
  return mul_scalar(add_scalar(mul_scalar(agreement, -1), negative_entropy), factor);
}

Teacher::Teacher(ModulePtr model) : model_(std::move(model)) { model_->set_training(false); }

Tensor Teacher::operator()(Inputs x) const {
  const Tape::Paused paused;
  return model_->call(x);
}

}  // namespace qgrad
