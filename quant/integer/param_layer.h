// Convolution and fully connected layers on integers (Distiller range_linear.py:RangeLinearQuantParamLayerWrapper).
#pragma once

#include "quant/integer/wrapper.h"

namespace qgrad {

struct WeightQuantization {
  QuantSettings settings;
  bool save_float = false;  // keep the float weights too, so that the weights can be quantized again
};

// Wraps a Conv2d or Linear. Its weight parameter becomes the integers, without zero point; its bias stays in float and
// is brought to the accumulator's scale at every call:
//   accumulator = layer(x_q + zero_point_x, w_q + zero_point_w) + bias_q, scale_x * scale_w
//   static: bias_q = clamp(round(bias * accumulator scale))
//   dynamic: from the bias quantized on its own, symmetric, to bits_accum (base):
//            bias_q = clamp(round(accumulator scale / base scale * (base_q + base zero point)))
// Where the output stays in float (quantization.output null), weights and bias are dequantized and the layer runs in
// float.
class RangeLinearQuantParamLayerWrapper final : public RangeLinearQuantWrapper {
 public:
  RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization, WeightQuantization weight);
  std::string_view kind() const override { return "RangeLinearQuantParamLayerWrapper"; }
  std::string describe() const override;
  Json quant_params() const override;

  const QuantSettings& weight_settings() const { return weight_quantization_.settings; }
  LinearQuantParams weight_params() const;
  const Tensor& weight_q() const { return weight_.raw(); }

  Tensor dequantized_weight() const;
  Tensor dequantized_bias() const;  // undefined where there is none
  // Of the accumulator for an input with this quantization: one, or one per output channel.
  std::vector<float> accumulator_scale(const QuantMetadata& input) const;
  Tensor bias_q(std::span<const float> accumulator_scale) const;  // undefined where there is no bias
  // Dynamic: the bias quantized on its own.
  LinearQuantParams base_bias_params() const;
  Tensor base_bias_q() const;

  // The values that the ends of the integer range stand for: one range, or one per output channel. The setter quantizes
  // the weights again, for exactly these ranges; it throws where the float weights were not saved.
  std::vector<ValueRange> weight_clipping() const;
  void set_weight_clipping(std::span<const ValueRange> ranges);

 protected:
  Accumulator accumulate(Inputs x) override;
  Tensor forward_float(Inputs x) override;

 private:
  Tensor run(const Tensor& x, const Tensor& weight, const Tensor& bias) const;
  Tensor shifted_weight() const;  // w_q + zero point
  QuantSettings bias_settings() const;
  void quantize_weight(const Tensor& weight, const LinearQuantParams& params);

  WeightQuantization weight_quantization_;
  Parameter &weight_, &bias_;                // the wrapped layer's
  Buffer weight_scale_, weight_zero_point_;  // [1] or [output channels]
  std::optional<Parameter> float_weight_;
};

}  // namespace qgrad
