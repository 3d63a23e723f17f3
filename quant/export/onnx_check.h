// Whether an exported ONNX file is one that runtimes accept.
#pragma once

#include <string_view>

namespace qgrad::deploy {

// Reads the bytes of onnx_model back. Throws Error, naming the node or the constant, unless
//   - every name is made once, and before a node or an output of the graph asks for it;
//   - constants have as many bytes as their dimensions and type say, and hold neither NaN nor infinity;
//   - steps are positive, and zero points have the type of what they belong to;
//   - every operator gets the number, types and shapes of inputs that ONNX wants, and the outputs of the graph are what
//     is declared, for a batch of one.
void check_onnx(std::string_view bytes);

}  // namespace qgrad::deploy
