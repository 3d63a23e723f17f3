// The ONNX forms of operations that move numbers.
#pragma once

#include "quant/export/onnx_writer.h"

namespace qgrad::deploy {

// One axis after the other.
void add_select(OnnxWriter& to, const Op& op);
// The inputs as one row for each image, from which numbers are gathered, in ONNX's order of both.
void add_gather(OnnxWriter& to, const Op& op);

}  // namespace qgrad::deploy
