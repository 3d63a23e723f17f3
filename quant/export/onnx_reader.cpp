// Protobuf's wire format, the other way round. Field numbers are those of onnx.proto3.
#include "quant/export/onnx_reader.h"

#include "core/error.h"

namespace qgrad::deploy {
namespace {

// The fields of a message, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  bool next() {
    if (left_.empty()) return false;
    const uint64_t key = varint();
    field = static_cast<int64_t>(key >> 3);
    is_number_ = (key & 7) == 0;
    check(is_number_ || (key & 7) == 2, "ONNX: field {} has wire type {}, expected 0 or 2", field, key & 7);
    number_ = varint();
    if (is_number_) return true;
    check(number_ <= left_.size(), "ONNX: field {} has {} bytes, the message {}", field, number_, left_.size());
    bytes_ = left_.substr(0, number_);
    left_.remove_prefix(number_);
    return true;
  }
  int64_t number() const {
    check(is_number_, "ONNX: expected a number in field {}", field);
    return static_cast<int64_t>(number_);
  }
  std::string_view bytes() const {
    check(!is_number_, "ONNX: expected bytes in field {}", field);
    return bytes_;
  }
  std::string text() const { return std::string(bytes()); }

  int64_t field = 0;

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      check(!left_.empty(), "ONNX: the bytes end within a number");
      const auto byte = static_cast<uint8_t>(left_[0]);
      left_.remove_prefix(1);
      value |= uint64_t{byte & 127u} << shift;
      if (byte < 128) return value;
    }
    fail("ONNX: a number of more than 64 bits");
  }

  std::string_view left_, bytes_;
  uint64_t number_ = 0;
  bool is_number_ = false;
};

OnnxType type_of(int64_t number) {
  for (const OnnxType type : {OnnxType::float32, OnnxType::uint8, OnnxType::int8, OnnxType::int32, OnnxType::int64})
    if (static_cast<int64_t>(type) == number) return type;
  fail("ONNX: unknown type {}", number);
}

OnnxConstant constant_of(std::string_view bytes) {
  OnnxConstant constant;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) constant.dims.push_back(f.number());
    if (f.field == 2) constant.type = type_of(f.number());
    if (f.field == 8) constant.name = f.text();
    if (f.field == 9) constant.values = f.text();
  }
  return constant;
}

int64_t dim_of(std::string_view bytes) {
  int64_t dim = kOnnxBatch;
  for (Fields f(bytes); f.next();)
    if (f.field == 1) dim = f.number();
  return dim;
}

OnnxValue value_of(std::string_view bytes) {
  OnnxValue value;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) value.name = f.text();
    if (f.field != 2) continue;
    for (Fields type(f.bytes()); type.next();)
      for (Fields tensor(type.bytes()); tensor.next();) {
        if (tensor.field == 1) value.type = type_of(tensor.number());
        if (tensor.field != 2) continue;
        for (Fields shape(tensor.bytes()); shape.next();) value.dims.push_back(dim_of(shape.bytes()));
      }
  }
  return value;
}

OnnxNode node_of(std::string_view bytes) {
  OnnxNode node;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) node.inputs.push_back(f.text());
    if (f.field == 2) node.outputs.push_back(f.text());
    if (f.field == 4) node.op = f.text();
    if (f.field != 5) continue;
    std::string name;
    std::vector<int64_t> values;
    for (Fields attribute(f.bytes()); attribute.next();) {
      if (attribute.field == 1) name = attribute.text();
      if (attribute.field == 3 || attribute.field == 8) values.push_back(attribute.number());
    }
    node.attributes[name] = values;
  }
  return node;
}

}  // namespace

OnnxGraph read_onnx(std::string_view bytes) {
  OnnxGraph graph;
  for (Fields model(bytes); model.next();) {
    if (model.field == 8)
      for (Fields opset(model.bytes()); opset.next();)
        if (opset.field == 2) graph.opset = opset.number();
    if (model.field != 7) continue;
    for (Fields f(model.bytes()); f.next();) {
      if (f.field == 1) graph.nodes.push_back(node_of(f.bytes()));
      if (f.field == 5) graph.constants.push_back(constant_of(f.bytes()));
      if (f.field == 11) graph.inputs.push_back(value_of(f.bytes()));
      if (f.field == 12) graph.outputs.push_back(value_of(f.bytes()));
    }
  }
  return graph;
}

}  // namespace qgrad::deploy
