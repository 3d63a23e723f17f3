// APoT (Li, Dong and Wang, "Additive Powers-of-Two Quantization: An Efficient Non-uniform Discretization for Neural
// Networks", 2020): levels are sums of powers of two, up to a learned clip.
#pragma once

#include "quant/train/learned_grid.h"

namespace qgrad {

// The 2^bits levels from 0 to 1: sums of bits / 2 terms, term i being 0 or one of 2^-i, 2^-(i+n), 2^-(i+2n), scaled so
// that the largest is 1; an odd number of bits adds a term with one power (eq. 5; the authors' build_power_value).
std::vector<float> additive_powers_of_two(int bits);

// y = alpha Q(x / alpha), Q to the nearest level of [0, 1], or of [-1, 1] where there are both signs (one bit is the
// sign then):
//   dy/dalpha = Q(x / alpha) - x / alpha between the ends, -1 below (0 without sign), 1 above   (eq. 8)
//   dy/dx = 1; of activations 0 at and beyond the ends
// Weights are normalized first, (w - mean) / std with mean and std as constants (section 2.3). The result is multiplied
// by std again, a factor that a batch norm would remove anyhow, so that layers without one keep their scale.
// alpha starts where the squared error is least.
class APoTQuantization final : public LearnedQuantization {
 public:
  static constexpr int kMostBits = 8;
  APoTQuantization(int bits, Role role, bool normalize_weights);
  std::string_view kind() const override { return "APoTQuantization"; }

  Levels levels() const override;
  std::vector<float> steps_per_unit(const Tensor& quantized) const override;  // in the mean

  Parameter alpha;  // [1]; of weights, in standard deviations when they are normalized

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  void make_levels(int bits);
  Grid grid_of_levels() const;  // its integers are more than the levels

  bool normalize_;
  int levels_bits_ = 0;
  Levels levels_;  // of an alpha of 1; multiples of the smallest positive one
};

}  // namespace qgrad
