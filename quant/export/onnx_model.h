// ONNX models under construction, and the bytes of their files: the few messages of onnx.proto that exported networks
// need, in protobuf's wire format.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "nn/onnx/onnx_file.h"

namespace qgrad::deploy {

using OnnxType = onnx::Type;

// A TensorProto, little-endian.
std::string onnx_tensor(std::string_view name, OnnxType type, std::span<const int64_t> dims, std::string_view values);

class OnnxModel {
 public:
  using Attribute = std::pair<std::string, std::variant<int64_t, std::vector<int64_t>>>;
  static constexpr int64_t kOpset = 13;

  // Of the graph. The first dimension, the batch, may be any number.
  void input(std::string_view name, OnnxType type, std::span<const int64_t> dims_of_one);
  void output(std::string_view name, OnnxType type, std::span<const int64_t> dims_of_one);

  // A constant; without dimensions a scalar. T: float, double, uint8_t, int8_t, int32_t or
  // int64_t. Returns its name.
  template <class T>
  std::string constant(std::string name, std::span<const int64_t> dims, std::span<const T> values);
  template <class T>
  std::string scalar(std::string name, T value) {
    return constant<T>(std::move(name), {}, {&value, 1});
  }

  // A node with one output, whose name it returns. An empty input is an absent one.
  std::string node(std::string_view op, const std::vector<std::string>& inputs, std::string output,
                   const std::vector<Attribute>& attributes = {});

  std::string bytes(std::string_view graph_name) const;

 private:
  std::string nodes_, constants_, inputs_, outputs_;  // fields of GraphProto
};

}  // namespace qgrad::deploy
