// Integer programs and float ones as ONNX models that compute the same integers.
#pragma once

#include <string>

#include "engine/program.h"

namespace qgrad::deploy {

struct OnnxOptions {
  std::string name = "qgrad";  // of the graph
  bool all_tensors = false;    // every quantized tensor is an output too, under the path of its layer
};

// The bytes of an ONNX file (opset 13) with one input "input" [batch, channels, height, width] and one output "output"
// [batch, numbers]. Images are NCHW there.
//
// Quantized layers are in QDQ form: DequantizeLinear, the layer in float, QuantizeLinear. Bytes are uint8 as in the
// program; where not all 256 stand for something, and where a ReLU cuts the lower ones off, Clip follows
// QuantizeLinear, on the bytes, so that runtimes still see the pattern. Weights are int8 with one step, or one for each
// output channel, biases int32. Sums of tensors are Sum, which runtimes compute in float as written, and not Add, for
// which they have integer forms of their own that round differently.
// The program's rounding must be Arithmetic::onnx where it has integers. Throws Error naming the tensor and the reason.
// The bytes have passed check_onnx.
std::string onnx_model(const Program& program, const OnnxOptions& options);

// The tensors that all_tensors makes outputs, in the program's order: their indices and their names in the model.
struct OnnxTensor {
  int32_t tensor;
  std::string name;
};
std::vector<OnnxTensor> onnx_quantized_tensors(const Program& program);

}  // namespace qgrad::deploy
