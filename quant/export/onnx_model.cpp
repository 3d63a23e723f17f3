// Field numbers are those of onnx.proto3.
#include "quant/export/onnx_model.h"

#include <type_traits>

#include "core/protobuf.h"

namespace qgrad::deploy {
namespace {

using Message = ProtobufMessage;

Message tensor_message(std::string_view name, OnnxType type, std::span<const int64_t> dims, std::string_view values) {
  Message tensor;
  for (const int64_t dim : dims) tensor.number(1, dim);
  return tensor.number(2, static_cast<int64_t>(type)).text(8, name).text(9, values);
}

// ValueInfoProto of a tensor whose first dimension is the batch.
Message value_info(std::string_view name, OnnxType type, std::span<const int64_t> dims_of_one) {
  Message shape;
  shape.message(1, Message().text(2, "batch"));
  for (const int64_t dim : dims_of_one) shape.message(1, Message().number(1, dim));
  const Message tensor = Message().number(1, static_cast<int64_t>(type)).message(2, shape);
  return Message().text(1, name).message(2, Message().message(1, tensor));
}

Message attribute_message(const OnnxModel::Attribute& attribute) {
  constexpr int kInt = 2, kInts = 7;
  Message message;
  message.text(1, attribute.first);
  if (const auto* one = std::get_if<int64_t>(&attribute.second)) return message.number(3, *one).number(20, kInt);
  for (const int64_t value : std::get<std::vector<int64_t>>(attribute.second)) message.number(8, value);
  return message.number(20, kInts);
}

template <class T>
constexpr OnnxType type_of() {
  if constexpr (std::is_same_v<T, float>) return OnnxType::float32;
  if constexpr (std::is_same_v<T, double>) return OnnxType::float64;
  if constexpr (std::is_same_v<T, uint8_t>) return OnnxType::uint8;
  if constexpr (std::is_same_v<T, int8_t>) return OnnxType::int8;
  if constexpr (std::is_same_v<T, int32_t>) return OnnxType::int32;
  if constexpr (std::is_same_v<T, int64_t>) return OnnxType::int64;
}

}  // namespace

std::string onnx_tensor(std::string_view name, OnnxType type, std::span<const int64_t> dims, std::string_view values) {
  return tensor_message(name, type, dims, values).bytes;
}

void OnnxModel::input(std::string_view name, OnnxType type, std::span<const int64_t> dims_of_one) {
  inputs_ += Message().message(11, value_info(name, type, dims_of_one)).bytes;
}

void OnnxModel::output(std::string_view name, OnnxType type, std::span<const int64_t> dims_of_one) {
  outputs_ += Message().message(12, value_info(name, type, dims_of_one)).bytes;
}

template <class T>
std::string OnnxModel::constant(std::string name, std::span<const int64_t> dims, std::span<const T> values) {
  const std::string_view raw(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  constants_ += Message().message(5, tensor_message(name, type_of<T>(), dims, raw)).bytes;
  return name;
}
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const float>);
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const double>);
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const uint8_t>);
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const int8_t>);
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const int32_t>);
template std::string OnnxModel::constant(std::string, std::span<const int64_t>, std::span<const int64_t>);

std::string OnnxModel::node(std::string_view op, const std::vector<std::string>& inputs, std::string output,
                            const std::vector<Attribute>& attributes) {
  Message node;
  for (const std::string& input : inputs) node.text(1, input);
  node.text(2, output).text(3, output).text(4, op);
  for (const Attribute& attribute : attributes) node.message(5, attribute_message(attribute));
  nodes_ += Message().message(1, node).bytes;
  return output;
}

std::string OnnxModel::bytes(std::string_view graph_name) const {
  constexpr int64_t kIrVersion = 8;
  Message graph;
  graph.bytes = nodes_;
  graph.text(2, graph_name);
  graph.bytes += constants_ + inputs_ + outputs_;
  const Message opset = Message().text(1, "").number(2, kOpset);
  return Message().number(1, kIrVersion).text(2, "qgrad").message(7, graph).message(8, opset).bytes;
}

}  // namespace qgrad::deploy
