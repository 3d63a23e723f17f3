// Convolution and fully connected layers on integers (Distiller range_linear.py:RangeLinearQuantParamLayerWrapper).
#pragma once

#include "nn/fold.h"
#include "quant/integer/weight.h"
#include "quant/integer/wrapper.h"

namespace qgrad {

// Wraps a Conv2d or Linear. Its weight parameter becomes the integers, without zero point; its bias stays in float and
// is brought to the accumulator's scale at every call:
//   accumulator = layer(x_q + zero_point_x, w_q + zero_point_w) + bias_q, scale_x * scale_w
//   static: bias_q = clamp(round(bias * accumulator scale)), under Rounding::onnx clamp(round(bias / accumulator step))
//   dynamic: from the bias quantized on its own, symmetric, to bits_accum (base):
//            bias_q = clamp(round(accumulator scale / base scale * (base_q + base zero point)))
// Where the output stays in float (quantization.output null), weights and bias are dequantized and the layer runs in
// float.
class RangeLinearQuantParamLayerWrapper final : public RangeLinearQuantWrapper {
 public:
  // params: of the weights; none: those of their own range.
  RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization, WeightQuantization weight,
                                    const std::optional<LinearQuantParams>& params = std::nullopt);
  std::string_view kind() const override { return "RangeLinearQuantParamLayerWrapper"; }
  std::string describe() const override;
  Json quant_params() const override;

  std::vector<QuantParamSlot> quant_param_slots() override;

  const IntegerWeight& weight() const { return weight_; }
  IntegerWeight& weight() { return weight_; }
  Tensor dequantized_bias() const;  // undefined where there is none
  // Of the accumulator for an input with this quantization: one, or one per output channel.
  std::vector<float> accumulator_scale(const QuantMetadata& input) const;
  std::vector<float> accumulator_step(const QuantMetadata& input) const;  // Rounding::onnx, else empty
  Tensor bias_q(const QuantMetadata& input) const;  // undefined where there is no bias, or one that stays in float
  // Dynamic: the bias quantized on its own.
  LinearQuantParams base_bias_params() const;
  Tensor base_bias_q() const;

  // --- for corrections ---
  // The real values that the layer adds up for x, bias included: before ReLU, limits and the output's grid.
  Tensor sums(const Tensor& x);
  // x as the layer computes on it: as it came, or on this layer's input grid.
  Tensor as_computed_on(const Tensor& x) const;
  // The wrapped layer, in float, with these parameters for its own.
  Tensor run(const Tensor& x, const Tensor& weight, const Tensor& bias) const {
    return layer_output(wrapped(), x, weight, bias);
  }
  const Tensor& bias() const { return bias_.raw(); }
  void set_bias(Tensor bias);  // of the same shape

 protected:
  Accumulator accumulate(Inputs x) override;
  Tensor forward_float(Inputs x) override;
  Tensor real_bias() const override { return bias_.raw(); }

 private:
  Tensor shifted_weight() const;  // w_q + zero point
  QuantSettings bias_settings() const;

  Parameter& bias_;  // the wrapped layer's
  IntegerWeight weight_;
};

}  // namespace qgrad
