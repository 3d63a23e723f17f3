// Layers without weights on integers: sums and concatenations on a common grid, products on the product of the grids.
#pragma once

#include "quant/simulation/wrapper.h"

namespace qgrad {

// EltwiseAdd and Concat under Arithmetic::distiller (Distiller RangeLinearQuantEltwiseAddWrapper,
// RangeLinearQuantConcatWrapper). Every input is brought to the output's grid first: round(output_scale / input_scale *
// (q + zero_point)), so the output's scale must be fixed. The sum of these rounded integers needs no further scale. As
// in Distiller, these factors are never approximated.
class RangeLinearQuantCommonGridWrapper final : public RangeLinearQuantWrapper {
 public:
  // Throws unless quantization.output_params are given.
  RangeLinearQuantCommonGridWrapper(ModulePtr layer, LayerQuantization quantization);
  std::string_view kind() const override;

 protected:
  Accumulator accumulate(Inputs x) override;
  Rescale rescale(float, const Accumulator&) const override { return {{1.0f}}; }
};

// EltwiseMult, Matmul and BatchMatmul (Distiller RangeLinearQuantEltwiseMultWrapper, RangeLinearQuantMatmulWrapper):
// the layer on the integers with their zero points added; the accumulator's scale is the product of the inputs' scales,
// exactly: approximated are the inputs' scales, the output's, and the factor between the accumulator and the output.
class RangeLinearQuantProductWrapper final : public RangeLinearQuantWrapper {
 public:
  RangeLinearQuantProductWrapper(ModulePtr layer, LayerQuantization quantization);
  std::string_view kind() const override;
  float accumulator_scale(std::span<const Grid> inputs) const;

 protected:
  Accumulator accumulate(Inputs x) override;
};

}  // namespace qgrad
