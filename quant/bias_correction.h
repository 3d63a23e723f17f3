// Bias correction: a quantized layer's outputs get the mean they have in the float model.
#pragma once

#include "quant/learned_rounding.h"

namespace qgrad {

// bias += E[y] - E[y'] per output channel, before the activation function, where y is the float layer's output in the
// float model and y' the quantized layer's on the inputs that reach it, both means over all samples and positions.
// (Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2 and
// appendix D, the empirical form.) The layer must have a bias.
void correct_bias(RangeLinearQuantParamLayerWrapper& layer, const LayerSamples& samples);

}  // namespace qgrad
