// Fully connected layer.
#pragma once

#include "nn/layers/layer_class.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {

struct LinearConfig {
  int64_t in = 0, out = 0;  // features
  bool bias = true;
};
void fields(Fields& v, LinearConfig& c);
void complete(LinearConfig& config, const LayerClass::InputShape& input);

class Linear final : public WeightedSum {
 public:
  explicit Linear(const LinearConfig& config);
  Linear(int64_t in, int64_t out, bool with_bias = true) : Linear(LinearConfig{in, out, with_bias}) {}
  std::string_view kind() const override { return "Linear"; }
  std::string describe() const override;
};

}  // namespace qgrad
