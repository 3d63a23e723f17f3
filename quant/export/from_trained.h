// From a model with Quantizations on its weights and activations, trained or not, to one of integer layers, as
// PostTrainLinearQuantizer makes them, which can be lowered.
#pragma once

#include "nn/module.h"

namespace qgrad::deploy {

// model: prepared by a quantizer, trained or loaded, in evaluation mode; one of integer layers stays as it is.
// Afterwards
//   - a layer with quantized weights and quantized input computes on integers, its batch norm folded: integers of
//     batch-normed weights stay what they were, only their scale becomes one for each channel;
//   - a ReLU with its quantization right behind such a layer is computed there, as requantization;
//   - other quantized activations are float layers with quantized outputs, and other layers stay in float. So are those
//     whose tracked range has no zero, which clamp their numbers to it.
// All under Arithmetic::onnx. An offset that is no multiple of its step (LSQ+) is rounded to one. Levels that are not
// evenly spaced (APoT) are looked up, those of weights integers of a finer grid; throws where that has more than 8
// bits, with the layer. example: one image. A model without quantization is left with its batch norms folded.
void to_integer_layers(ModulePtr& model, const Tensor& example);

}  // namespace qgrad::deploy
