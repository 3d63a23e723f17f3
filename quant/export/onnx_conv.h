// The ONNX forms of convolutions, fully connected layers among them.
#pragma once

#include "quant/export/onnx_writer.h"

namespace qgrad::deploy {

// Of bytes and integer weights, in QDQ form where that holds them.
void add_conv(OnnxWriter& to, const Op& op);
// ConvInteger, whose sums are exact, and what follows in float as written: for real sums, which a Conv in QDQ form
// would round on the way, for weights beyond 8 bits, which are the sum of two that are not, and for biases of finer
// steps than the sums have.
void add_conv_by_integers(OnnxWriter& to, const Op& op);
void add_float_conv(OnnxWriter& to, const Op& op);

}  // namespace qgrad::deploy
