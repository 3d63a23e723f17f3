// Integer programs and float ones as ONNX models that compute the same integers.
#pragma once

#include <string>

#include "quant/export/runtime_form.h"

namespace qgrad::deploy {

struct OnnxOptions {
  std::string name = "qgrad";  // of the graph
  bool all_tensors = false;    // every quantized tensor is an output too, under the path of its layer
  bool fused = false;          // additions, products and means as Add, Mul and GlobalAveragePool, whatever differs then
};

// The bytes of an ONNX file (opset 13) with one input "input" [batch, channels, height, width] and one output "output"
// [batch, numbers]. Images are NCHW there.
//
// Quantized layers are in QDQ form: DequantizeLinear, the layer in float, QuantizeLinear. Bytes are uint8 as in the
// program; where not all 256 stand for something, and where a ReLU cuts the lower ones off, Clip follows
// QuantizeLinear, on the bytes, so that runtimes still see the pattern. Weights are int8 with one step, or one for each
// output channel, biases int32. Additions, products and means are Add, Mul and GlobalAveragePool where ONNX Runtime's
// integer forms of them give the program's bytes, whatever they meet (runtime_form). Else they are Sum, which it
// computes in float as written, and a convolution with ones. The program's rounding must be Arithmetic::onnx where it
// has integers. Throws Error naming the tensor and the reason. The bytes have passed check_onnx.
std::string onnx_model(const Program& program, const OnnxOptions& options);

// The operations, by the name of their tensor, that are not written so for that reason; with `fused` they are.
struct OnnxDifference {
  std::string name;
  RuntimeForm form;
};
std::vector<OnnxDifference> onnx_differences(const Program& program);

// The tensors that all_tensors makes outputs, in the program's order: their indices and their names in the model.
struct OnnxTensor {
  int32_t tensor;
  std::string name;
};
std::vector<OnnxTensor> onnx_quantized_tensors(const Program& program);

}  // namespace qgrad::deploy
