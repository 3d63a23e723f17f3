// N2UQ (Liu et al., "Nonuniform-to-Uniform Quantization: Towards Accurate Quantization via Generalized Straight-Through
// Estimation", 2022): thresholds at any distances, between levels that are evenly spaced.
#pragma once

#include "quant/train/learned_grid.h"

namespace qgrad {

// y = s k for activations without negative values, k being how many of the n = 2^bits - 1 thresholds x is above:
//   threshold i = offset + a_0 + .. + a_(i-1) + a_i / 2,  a_i > 0 the learned intervals, offset >= 0
// The gradients are those of the line through the middles, f(x) = s (i + (x - d_i) / a_i) in interval i, which begins
// at d_i = offset + a_0 + .. + a_(i-1), and constant beyond the ends (section 3.2, the generalized straight-through
// estimator):
//   dy/dx = s / a_i;  dy/doffset = -s / a_i;  dy/da_i = -s (x - d_i) / a_i^2;  dy/da_j = -s / a_i of all j < i
//   dy/ds = k, the forward's;  those of parameters times g = 1 / sqrt(N n), as LSQ's
// The intervals start with LSQ's step of the least squared error, so that the first grid is evenly spaced, and are so
// while a schedule asks for other bits than the config: intervals of those would be other parameters.
class N2UQQuantization final : public LearnedQuantization {
 public:
  static constexpr int kMostBits = 4;
  N2UQQuantization(int bits, Role role);
  std::string_view kind() const override { return "N2UQQuantization"; }

  Levels levels() const override;
  std::vector<float> steps_per_unit(const Tensor&) const override { return {}; }

  Parameter step;       // [1], between two levels
  Parameter offset;     // [1]
  Parameter intervals;  // [2^bits - 1]

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  struct Line;
  Line line() const;
  Tensor evenly(const Tensor& x, const QuantizedRange& q);
};

}  // namespace qgrad
