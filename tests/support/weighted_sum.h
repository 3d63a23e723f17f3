// sum(y * weights) as one recorded op: the loss whose gradient with respect to y is `weights`.
#pragma once

#include "core/error.h"
#include "core/tape.h"

namespace qgrad::test {

inline Tensor weighted_sum(const Tensor& y, const Tensor& weights) {
  check(y.shape() == weights.shape(), "weighted_sum: {} and {}", y.shape(), weights.shape());
  double sum = 0;
  for (size_t i = 0; i < y.data().size(); ++i) sum += double{y.data()[i]} * weights.data()[i];
  return record("weighted_sum", Tensor::scalar(static_cast<float>(sum)), {y},
                [weights](Tensor, Grads& dx) { dx.add(0, weights); });
}

}  // namespace qgrad::test
