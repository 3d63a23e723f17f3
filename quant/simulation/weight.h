// The weight of a layer as integers.
#pragma once

#include <optional>

#include "nn/module.h"
#include "quant/ranges/ranges.h"
#include "quant/simulation/layer.h"

namespace qgrad {

struct WeightQuantization {
  QuantSettings settings;
  bool save_float = false;  // keep the float weights too, so that the weights can be quantized again
};

// The name of the parameter that holds a layer's float weight.
inline constexpr const char* kFloatWeight = "float_weight";

// A wrapped layer's parameter whose values are integers, with their scale and zero point as buffers of the wrapper
// (w_scale, w_zero_point; one, or one per output channel) and, where asked for, the float weight as its parameter.
class IntegerWeight {
 public:
  IntegerWeight(Module& wrapper, Parameter& weight, const WeightQuantization& quantization, const ChannelGrid& grid);

  const QuantSettings& settings() const { return quantization_.settings; }
  const Tensor& q() const { return weight_.raw(); }
  // Other integers on the same scales. Throws unless they are integers of the range, in the same shape.
  void set_q(Tensor q);
  void set_grid(const ChannelGrid& grid);  // other scales and zero points for these integers, as many
  ChannelGrid grid() const;
  // Times which q and zero point are an integer: 2 where the zero point is a half.
  float fineness() const { return settings().mode == LinearQuantMode::symmetric_midrise ? 2 : 1; }
  Tensor dequantized() const { return linear_dequantize(q(), grid()); }
  QuantParamSlot slot();
  Json quant_params() const;

 private:
  QuantizedRange integers() const { return quantized_range(settings().bits, settings().mode); }
  void quantize(const Tensor& weight, const ChannelGrid& grid);

  WeightQuantization quantization_;
  Parameter& weight_;
  Buffer scale_, zero_point_;  // [1] or [output channels]
  std::optional<Parameter> float_weight_;
};

}  // namespace qgrad
