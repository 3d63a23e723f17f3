// The base of layers quantized after training: inputs onto integers, the layer on integers, its sums onto the output's
// grid (Distiller range_linear.py:RangeLinearQuantWrapper).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quant/simulation/layer.h"
#include "quant/simulation/passes.h"

namespace qgrad {

// How an input is quantized that does not carry its producer's quantization.
struct InputQuantization {
  QuantSettings settings;      // dynamic: applied to the values that arrive
  std::optional<Grid> params;  // static: from calibration statistics
  bool overridden = false;     // by input_overrides: an input that is quantized already is then a conflict
  bool allowed = true;       // false where inputs_quant_auto_fallback is off and input_overrides do not name the input
  bool requantized = false;  // an input that is quantized already is put on this grid nevertheless
  bool shared = false;       // the tensor has an earlier consumer, whose settings these are
};

// What a wrapper does, resolved.
struct LayerQuantization {
  std::optional<QuantSettings> output;    // null: the output stays in float
  std::optional<Grid> output_params;      // static; null: from the values of every call (dynamic)
  std::vector<InputQuantization> inputs;  // by index; empty where the layer does not quantize its inputs
  int bits_accum = 32;
  Arithmetic arithmetic = Arithmetic::onnx;
  // With a float output: the layer computes on integers, its sums become real values, and the bias is added to these.
  bool real_sums = false;
  bool relu = false;              // a ReLU is applied to the accumulator
  std::optional<float> relu_cap;  // where it has one, as ReLU6
};

// The scale itself, or its approximation where the settings ask for it.
float maybe_approximated(float scale, const QuantSettings& settings);

// Tensors between wrappers are floats on the grid that they name, so that any module can stand between two
// of them; a wrapper that follows another one gets the same integers back. Evaluation only.
class RangeLinearQuantWrapper : public PostTrainLayer {
 public:
  std::string describe() const override;
  const LayerQuantization& quantization() const { return quantization_; }

  // Scale and zero point of the output; null where they are not fixed.
  std::optional<Grid> output_grid() const;
  // How x is quantized as input i: as its producer left it, else, or where it is requantized, as this layer's settings
  // say. Throws when they do not allow it, and when both say something.
  Grid input_grid(size_t i, const Tensor& x) const;
  bool quantizes_input(size_t i, const Tensor& x) const override;
  // How this layer's settings quantize x as input i, whatever its producer did: the calibrated grid, or x's own.
  Grid own_input_grid(size_t i, const Tensor& x) const;
  Tensor on_own_grid(size_t i, const Tensor& x) const override;
  Tensor activated(const Tensor& y) const override;

  // --- for corrections ---
  // While one is set, calls give what it gives: a form of the layer that has gradients, say. Null: none.
  using StandIn = std::function<Tensor(Inputs)>;
  void set_stand_in(StandIn stand_in) { stand_in_ = std::move(stand_in); }
  Module& wrapped() const { return *wrapped_; }
  template <class M>
  const M* wrapped_as() const {  // null where it is of another type
    return wrapped_.as<M>();
  }

  Json quant_params() const override;
  std::vector<QuantParamSlot> quant_param_slots() override;

 protected:
  RangeLinearQuantWrapper(ModulePtr wrapped, LayerQuantization quantization);

  Tensor forward(Inputs x) final;
  // The layer on integers: its sums, before limits.
  virtual Accumulator accumulate(Inputs x) = 0;
  // The layer with a float output, where quantization().output is null.
  virtual Tensor forward_float(Inputs x);
  // What is added to the sums under real_sums, one for each channel; undefined where nothing is.
  virtual Tensor real_bias() const { return {}; }
  // What brings an accumulator to an output of this scale: output_scale / accumulator scale, one or one per channel,
  // approximated where asked for; under Arithmetic::onnx accumulator step / output step.
  virtual Rescale rescale(float output_scale, const Accumulator& accumulator) const;
  // What an accumulator can hold: bits_accum, signed.
  virtual QuantizedRange accumulator_range() const;
  // The largest magnitude that a fixed grid of the output stands for, behind a fused ReLU; 0 where none is fixed.
  double largest_output() const;

  const QuantSettings& output_settings() const { return *quantization_.output; }
  Arithmetic arithmetic() const { return quantization_.arithmetic; }

 private:
  // Throws where limits of the accumulator would cut off values that the output's grid holds or, where the grid is not
  // fixed, sums that were made.
  void check_holds(const Accumulator& accumulator, const AccumulatorLimits& limits) const;

  std::string relu_name() const;

  LayerQuantization quantization_;
  StandIn stand_in_;
  Child wrapped_;
  // Static parameters are state: they are saved, and what is loaded counts.
  std::optional<Buffer> output_scale_, output_zero_point_;  // scalars
  std::optional<Buffer> inputs_scale_, inputs_zero_point_;  // [inputs]
};

}  // namespace qgrad
