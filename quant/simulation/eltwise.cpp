// Sums, concatenations and products of integers.
#include "quant/simulation/eltwise.h"

#include <cmath>

#include "core/error.h"

namespace qgrad {

RangeLinearQuantCommonGridWrapper::RangeLinearQuantCommonGridWrapper(ModulePtr layer, LayerQuantization q)
    : RangeLinearQuantWrapper(std::move(layer), std::move(q)) {
  check(quantization().output_params.has_value(), "{} needs statistics: its inputs are brought to the output's scale",
        wrapped().kind());
}

std::string_view RangeLinearQuantCommonGridWrapper::kind() const {
  return wrapped().effect().kind == Effect::Kind::concatenates ? "RangeLinearQuantConcatWrapper"
                                                               : "RangeLinearQuantEltwiseAddWrapper";
}

Accumulator RangeLinearQuantCommonGridWrapper::accumulate(Inputs x) {
  const float output_scale = output_grid()->scale;
  std::vector<Tensor> operands;
  for (size_t i = 0; i < x.size(); ++i) {
    const Grid input = input_grid(i, x[i]);
    const float factor = output_scale / input.scale;
    check(std::isfinite(factor), "{}: its output's scale {} is out of reach of its input's, {}", wrapped().kind(),
          output_scale, input.scale);
    operands.push_back(to_integers_rescaled(x[i], input, factor, accumulator_range()));
  }
  return {wrapped().call(operands), {output_scale}};
}

RangeLinearQuantProductWrapper::RangeLinearQuantProductWrapper(ModulePtr layer, LayerQuantization q)
    : RangeLinearQuantWrapper(std::move(layer), std::move(q)) {}

std::string_view RangeLinearQuantProductWrapper::kind() const {
  return wrapped().effect().kind == Effect::Kind::multiplies ? "RangeLinearQuantEltwiseMultWrapper"
                                                             : "RangeLinearQuantMatmulWrapper";
}

float RangeLinearQuantProductWrapper::accumulator_scale(std::span<const Grid> inputs) const {
  float scale = 1;
  for (const Grid& input : inputs) scale *= input.scale;
  check(scale > 0 && std::isfinite(scale), "{}: the product of its inputs' scales is {}, beyond float",
        wrapped().kind(), scale);
  return scale;
}

Accumulator RangeLinearQuantProductWrapper::accumulate(Inputs x) {
  std::vector<Grid> inputs;
  std::vector<Tensor> operands;
  for (size_t i = 0; i < x.size(); ++i) {
    inputs.push_back(input_grid(i, x[i]));
    operands.push_back(to_integers(x[i], inputs.back(), arithmetic()));
  }
  return {wrapped().call(operands), {accumulator_scale(inputs)}};
}

}  // namespace qgrad
