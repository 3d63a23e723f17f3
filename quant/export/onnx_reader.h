// ONNX files as onnx_model writes them, read back: nodes, constants, inputs and outputs.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "quant/export/onnx_model.h"

namespace qgrad::deploy {

inline constexpr int64_t kOnnxBatch = -1;  // stands for a dimension without a number

struct OnnxValue {
  std::string name;
  OnnxType type{};
  std::vector<int64_t> dims;
};
struct OnnxConstant : OnnxValue {
  std::string values;  // little-endian
};
struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, std::vector<int64_t>> attributes;  // one integer, or several
};
struct OnnxGraph {
  int64_t opset = 0;
  std::vector<OnnxNode> nodes;
  std::vector<OnnxConstant> constants;
  std::vector<OnnxValue> inputs, outputs;
};

// Knows the messages of onnx.proto that OnnxModel writes. Throws Error for bytes that are none of these, or end early.
OnnxGraph read_onnx(std::string_view bytes);

}  // namespace qgrad::deploy
