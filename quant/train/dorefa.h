// The weights of DoReFa (Zhou et al., "DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low
// Bitwidth Gradients", 2016), which go through tanh.
#pragma once

#include "quant/quantization.h"

namespace qgrad {

// The transform of a parameter w (Distiller clipped_linear.dorefa_quantize_param):
//   2 bits and more: f = tanh(w) / (2 max|tanh(w)|) + 1/2;  w_q = 2 round((2^bits - 1) f) / (2^bits - 1) - 1
//     The rounding passes gradients straight through; they also flow through the maximum, in equal shares where several
//     numbers attain it. Zero is not a level: a pruned weight comes back as +-1 / (2^bits - 1).
//   1 bit: sign(w) mean|w|, sign(0) = 1; the gradient is that of the identity.
// A parameter that is all zeros is divided by 1.
class DorefaQuantizeParam final : public Quantization {
 public:
  explicit DorefaQuantizeParam(int bits);
  std::string_view kind() const override { return "DorefaQuantizeParam"; }
  std::string describe() const override;
  std::optional<ChannelGrid> grid(const Tensor& quantized) const override;
  std::vector<float> steps_per_unit(const Tensor&) const override { return {}; }

 protected:
  Tensor quantized(const Tensor& parameter) override;
};

}  // namespace qgrad
