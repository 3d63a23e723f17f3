// Numbers that wait and are computed from those of other tensors.
#pragma once

#include <vector>

#include "core/tensor.h"

namespace qgrad {

// They are computed before any of these tensors is written.
struct PendingOfTensors : Pending {
  virtual std::vector<Tensor> reads() const = 0;
};

}  // namespace qgrad
