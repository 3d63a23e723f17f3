// What ONNX Runtime computes for additions, products and means of bytes: it puts integer forms (QLinearAdd, QLinearMul,
// QLinearGlobalAveragePool) in their place and that of the nodes around them, which round otherwise at ties.
#pragma once

#include <optional>
#include <string>

#include "engine/program.h"

namespace qgrad::deploy {

struct RuntimeForm {
  const char* node;       // that it is made of, between DequantizeLinear and QuantizeLinear: "Add"
  int64_t differing, of;  // pairs of bytes, or sums of a mean, that become another byte than in the program
};

// Counted over all that the operation can meet, in the forms for x86 processors with AVX2 and for 64-bit ARM
// (onnxruntime/core/mlas/lib: qladd, qlmul, qlgavgpool). Nothing for operations that have none.
std::optional<RuntimeForm> runtime_form(const Program& program, const Op& op);

}  // namespace qgrad::deploy
