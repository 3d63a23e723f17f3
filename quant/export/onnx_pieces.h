// Operations that ONNX files have as several nodes, whose results are the same on every runtime.
#pragma once

#include <string>

#include "engine/program.h"
#include "quant/export/onnx_model.h"

namespace qgrad::deploy {

// The sums of a resample times its factor: two products with matrices, of floats, which hold integers where the
// operation's input is bytes. x: these numbers. Returns `result`, the last node; others have its name and more.
std::string add_resample(OnnxModel& model, const Program& program, const Op& op, const std::string& x,
                         const std::string& result);

// The real values of a layer norm of bytes x, in 64-bit integers and doubles, whose roots and quotients every processor
// rounds alike.
std::string add_layer_norm(OnnxModel& model, const Program& program, const Op& op, const std::string& x,
                           const std::string& result);

// The real values of a softmax of bytes x: exponentials and their sum in 64-bit integers, and a quotient of doubles.
std::string add_softmax(OnnxModel& model, const Op& op, const std::string& x, const std::string& result);

}  // namespace qgrad::deploy
