// Fully connected layer.
#pragma once

#include "nn/layers/weighted_sum.h"

namespace qgrad {

class Linear final : public WeightedSum {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true);
  std::string_view kind() const override { return "Linear"; }
  std::string describe() const override;
};

}  // namespace qgrad
