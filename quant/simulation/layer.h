// Layers quantized after training, seen from outside: what they got, and their scales, zero points and clipping values
// by name, to read and to set.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "nn/module.h"
#include "quant/ranges/ranges.h"

namespace qgrad {

// One parameter of the quantization of a layer. The functions are valid as long as the model is.
struct NamedQuantParam {
  enum class Kind { scale, zero_point, clipping };
  std::string layer;  // "layer1.0.conv1"
  std::string name;   // "layer1.0.conv1.output_scale"
  Kind kind = Kind::scale;
  bool is_range = false;  // two values: minimum and maximum
  bool free = false;      // a search over scales, zero points or clipping values has to try values of it
  std::function<std::vector<float>()> get;
  std::function<void(std::span<const float>)> set;
};

// Where a layer keeps a scale and zero point (or one of each per channel), and what they are called.
struct QuantParamSlot {
  std::string scale, zero_point, clipping;  // "output_scale", "output_zero_point", "output_clipping"
  QuantSettings settings;
  bool free = false;
  std::function<ChannelGrid()> get;
  std::function<void(const ChannelGrid&)> set;
};

class RangeLinearQuantParamLayerWrapper;

class PostTrainLayer : public Module {
 public:
  // What this layer really got: bits, mode, clipping, scales and zero points.
  virtual Json quant_params() const = 0;
  virtual std::vector<QuantParamSlot> quant_param_slots() { return {}; }
  virtual RangeLinearQuantParamLayerWrapper* param_layer() { return nullptr; }  // itself, where it is one
  // Whether this layer's settings say how x is quantized as input i: nothing before it has done it, or not so coarsely.
  virtual bool quantizes_input(size_t /*i*/, const Tensor& /*x*/) const { return false; }
  // Input i, quantized before, as if this layer had done it.
  virtual Tensor on_own_grid(size_t /*i*/, const Tensor& x) const { return x; }
  // What the ReLU that this layer computes leaves of y, in float; y itself where it computes none. Differentiable.
  virtual Tensor activated(const Tensor& y) const { return y; }
};

// A layer that a run of the model calls.
struct CalledLayer {
  PostTrainLayer* layer;
  int calls;
  std::vector<bool> carried;  // by input: whether it arrives quantized
  bool quantizes_inputs;      // one at the least, by its own settings
};
// In the order of their first calls.
std::vector<CalledLayer> called_layers(Module& model, const Tensor& example);

// Every parameter of every layer, in the order of the model (Distiller named_linear_quant_params, named_clipping):
//   <layer>.output_scale, .output_zero_point, .output_clipping     where fixed, that is with static quantization
//   <layer>.w_scale, .w_zero_point, .weight_clipping               of layers with quantized weights
//   <layer>.input<i>_scale, .input<i>_zero_point, .input<i>_clipping
//                                                                  where fixed; used for inputs that arrive in float
// What is set is what get() gives afterwards, up to rounding, and the layer computes with it from then on: weights are
// quantized again, which needs save_fp_weights, and biases follow the scales. A clipping value is one number where the
// other end follows from it (symmetric: both ends; half range: 0), else minimum and maximum; per channel, these one
// after the other. Setters throw on a wrong number of values, on a scale that is not positive, on a zero point that is
// not integral or leaves zero without an integer. Not free: zero points that follow from mode or half range,
// parameters of inputs, and of weights that can not be quantized again.
std::vector<NamedQuantParam> named_quant_params(Module& model);
// One of them; throws, naming the nearest, when there is none of that name.
NamedQuantParam named_quant_param(Module& model, std::string_view name);

// Layer by layer what a model of such layers computes: class, bits, modes, clipping, scales, zero points.
Json layer_quant_params(Module& model);

}  // namespace qgrad
