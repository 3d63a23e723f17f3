// Layers that go on computing in float: quantized at their output, or in a reduced float precision.
#pragma once

#include <optional>

#include "core/ops.h"
#include "nn/layers/norm.h"
#include "quant/simulation/integer_maps.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {

// Float formats a layer can be computed in.
enum class FloatPrecision { half = 16, single = 32 };

// To the nearest IEEE half, ties to even; beyond 65504 infinity.
float round_to_half(float x);
Tensor rounded(const Tensor& x, FloatPrecision precision);

// Runs the wrapped layer in float and puts its output on the grid of its quantization; inputs that carry no
// quantization are put on their grids first, unless quantization.inputs is empty (Distiller
// RangeLinearFakeQuantWrapper). Under Arithmetic::onnx, means are exact sums of integers instead: over windows of one
// size convolutions, whose weights are ones of step 1 / (size of the window), else weighted sums along rows and
// columns. So are products of matrices, the moments of layer norms, and the sums of softmax.
class RangeLinearFakeQuantWrapper final : public RangeLinearQuantWrapper {
 public:
  RangeLinearFakeQuantWrapper(ModulePtr layer, LayerQuantization quantization, FloatPrecision precision);
  std::string_view kind() const override { return "RangeLinearFakeQuantWrapper"; }
  FloatPrecision precision() const { return precision_; }

  // The window whose integers are summed, for images of this shape, and the step of the ones; none where the layer
  // computes in float.
  std::optional<Pool2dOptions> summed_window(const Shape& image) const;
  static float window_step(const Pool2dOptions& window);
  // The sums of other means.
  std::optional<IntegerMaps> summed_maps(const Shape& image) const;
  // A layer norm of the last dimension, which is computed on integers; null where the layer is something else.
  const LayerNorm* integer_norm() const;
  // Whether it is a softmax of the last dimension of inputs like this one, on this grid, which is computed on integers.
  bool is_integer_softmax(int rank, const Grid& grid) const;
  // Whether it multiplies two matrices of integers.
  bool multiplies_integers() const;

 protected:
  Accumulator accumulate(Inputs x) override;
  Rescale rescale(float output_scale, const Accumulator& accumulator) const override;
  QuantizedRange accumulator_range() const override;

 private:
  bool takes_integers() const;

  FloatPrecision precision_;
};

// Runs the wrapped layer in a reduced precision: its parameters, inputs and output are rounded to it, sums are kept in
// float32. The output is not quantized (Distiller FPWrapper).
class FPWrapper final : public PostTrainLayer {
 public:
  FPWrapper(ModulePtr layer, FloatPrecision precision);
  std::string_view kind() const override { return "FPWrapper"; }
  std::string describe() const override;
  Json quant_params() const override;

 protected:
  Tensor forward(Inputs x) override;

 private:
  FloatPrecision precision_;
  Child layer_;
};

}  // namespace qgrad
