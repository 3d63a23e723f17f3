// Convolution and fully connected layers on integers (Distiller range_linear.py:RangeLinearQuantParamLayerWrapper).
#pragma once

#include "nn/layers/weighted_sum.h"
#include "quant/simulation/weight.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {

// What a layer adds up for an input, and what these integers stand for. Scales and steps: one, or one per output
// channel.
struct IntegerSums {
  Tensor weight;  // zero points added
  std::vector<float> weight_scale;
  std::vector<float> scale, step;  // of the sums; step under Arithmetic::onnx, else empty
  Tensor bias;                     // integers; undefined where there is no bias, or one that stays in float
};

// Wraps a WeightedSum, as Conv2d and Linear are. Its weight parameter becomes the integers, without zero point; its
// bias stays in float and is brought to the accumulator's scale at every call:
//   accumulator = layer(x_q + zero_point_x, w_q + zero_point_w) + bias_q, scale_x * scale_w
//   static: bias_q = clamp(round(bias * accumulator scale)), under Arithmetic::onnx clamp(round(bias / accumulator
//   step)) dynamic: from the bias quantized on its own, symmetric, to bits_accum (base):
//            bias_q = clamp(round(accumulator scale / base scale * (base_q + base zero point)))
// Nothing is cut off: where a bias, or the largest value of the output's grid, would not fit the accumulator, weights
// get coarser steps until it does (integer_sums), or the layer throws. Where the output stays in float
// (quantization.output null), weights and bias are dequantized and the layer runs in float.
class RangeLinearQuantParamLayerWrapper final : public RangeLinearQuantWrapper {
 public:
  // grid: of the weights; none: that of their own range.
  RangeLinearQuantParamLayerWrapper(ModulePtr layer, LayerQuantization quantization, WeightQuantization weight,
                                    const std::optional<ChannelGrid>& grid = std::nullopt);
  std::string_view kind() const override { return "RangeLinearQuantParamLayerWrapper"; }
  std::string describe() const override;
  RangeLinearQuantParamLayerWrapper* param_layer() override { return this; }
  Json quant_params() const override;

  std::vector<QuantParamSlot> quant_param_slots() override;

  const IntegerWeight& weight() const { return weight_; }
  IntegerWeight& weight() { return weight_; }
  Tensor dequantized_bias() const;  // undefined where there is none
  // For an input on this grid. A channel whose weights are so small that its bias, or the output's range, is out of
  // reach in their steps gets steps 2^k times as coarse, the smallest k with which
  //   largest of |bias| and the output's range, in steps of the sums, <= 2^29, or what bits_accum holds;
  //   a bias of 2^24 steps and more <= 2^23, so that sums are exact in float, if that costs less than the next line.
  // Throws where coarser weights would move outputs by more than a step: by sqrt(n / 12) * 2^k * largest input, the
  // root of the mean square of n rounding errors.
  IntegerSums integer_sums(const Grid& input) const;
  // Dynamic: the bias quantized on its own.
  ChannelGrid base_bias_grid() const;
  Tensor base_bias_q() const;

  // --- for corrections ---
  // The real values that the layer adds up for x, bias included: before ReLU, limits and the output's grid.
  Tensor sums(const Tensor& x);
  // x as the layer computes on it: as it came, or on this layer's input grid.
  Tensor as_computed_on(const Tensor& x) const;
  // The wrapped layer, in float, with these parameters for its own.
  const WeightedSum& layer() const { return layer_; }
  Tensor run(const Tensor& x, const Tensor& weight, const Tensor& bias) const { return layer_.sums(x, weight, bias); }
  const Tensor& bias() const { return bias_.raw(); }
  void set_bias(Tensor bias);  // of the same shape

 protected:
  Accumulator accumulate(Inputs x) override;
  Tensor forward_float(Inputs x) override;
  Tensor real_bias() const override { return bias_.raw(); }

 private:
  std::vector<int> powers_coarser(const Grid& input) const;  // k of integer_sums, for every scale
  Tensor bias_on(const std::vector<float>& scale, const std::vector<float>& step) const;
  QuantSettings bias_settings() const;

  WeightedSum& layer_;
  Parameter& bias_;  // its
  IntegerWeight weight_;
};

}  // namespace qgrad
