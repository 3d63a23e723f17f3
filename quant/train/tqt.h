// TQT (Jain et al., "Trained Quantization Thresholds for Accurate and Efficient Fixed-Point Inference of Deep Neural
// Networks", 2019): scales are powers of two, given by trained thresholds.
#pragma once

#include "quant/train/learned_grid.h"

namespace qgrad {

// y = s q, q = clamp(round(x / s), qmin, qmax), s = 2^ceil(log2 t) / 2^(bits-1), or / 2^bits without sign (eq. 4):
//   dy/dlog2 t = s ln 2 (q - x / s) where round(x / s) is one of the integers, s ln 2 qmin below, s ln 2 qmax above
//   dy/dx = 1 where round(x / s) is one of the integers, else 0                                       (eq. 7 and 8)
// With normalized gradients, g becomes tanh(g / sqrt(v)) with v the bias-corrected moving average of g^2, decay 0.999
// (appendix B). The threshold starts as the power of two times max|x| that has the least squared error.
class TQTQuantization final : public LearnedQuantization {
 public:
  TQTQuantization(int bits, Role role, bool normalize_gradients);
  std::string_view kind() const override { return "TQTQuantization"; }
  float step(int bits) const;

  Parameter log2_threshold;                // [1]
  Buffer gradient_square, gradient_count;  // [1]: the moving average, and how many gradients it has seen

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  float normalized(double gradient);
  bool normalize_gradients_;
};

}  // namespace qgrad
