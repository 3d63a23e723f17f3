// Transposed 2-D convolution over NHWC images.
#pragma once

#include "nn/layers/layer_class.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {

struct ConvTranspose2dConfig {
  int64_t in = 0, out = 0;  // channels
  int64_t kernel_h = 3, kernel_w = 3;
  ConvTranspose2dOptions options;
  bool bias = true;
};
void fields(Fields& v, ConvTranspose2dConfig& c);
void complete(ConvTranspose2dConfig& config, const LayerClass::InputShape& input);

class ConvTranspose2d final : public WeightedSum {
 public:
  explicit ConvTranspose2d(const ConvTranspose2dConfig& config);
  std::string_view kind() const override { return "ConvTranspose2d"; }
  std::string describe() const override;
  bool is_transposed() const override { return true; }
  Tensor sums(const Tensor& x, const Tensor& weight, const Tensor& bias) const override;

 private:
  ConvTranspose2dOptions options_;
};

}  // namespace qgrad
