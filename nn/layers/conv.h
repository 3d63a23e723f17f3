// 2-D convolution over NHWC images.
#pragma once

#include "nn/layers/layer_class.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {

struct Conv2dConfig {
  int64_t in = 0, out = 0;  // channels
  int64_t kernel_h = 3, kernel_w = 3;
  Conv2dOptions options;  // stride, padding, dilation, groups
  bool bias = true;
};
void fields(Fields& v, Conv2dConfig& c);
void complete(Conv2dConfig& config, const LayerClass::InputShape& input);

// Square kernels, the common case.
Conv2dConfig conv3x3(int64_t in, int64_t out, int64_t stride = 1);  // padding 1, no bias
Conv2dConfig square_conv(int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0,
                         bool bias = true);

class Conv2d final : public WeightedSum {
 public:
  explicit Conv2d(const Conv2dConfig& config);
  std::string_view kind() const override { return "Conv2d"; }
  std::string describe() const override;
};

}  // namespace qgrad
