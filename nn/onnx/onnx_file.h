// ONNX files as they are: nodes, constants, inputs and outputs, read from protobuf's wire format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace qgrad::onnx {

enum class Type : int64_t {  // TensorProto.DataType
  undefined = 0,
  float32 = 1,
  uint8 = 2,
  int8 = 3,
  uint16 = 4,
  int16 = 5,
  int32 = 6,
  int64 = 7,
  string = 8,
  boolean = 9,
  float16 = 10,
  float64 = 11,
  uint32 = 12,
  uint64 = 13,
  bfloat16 = 16,
};
std::string_view type_name(Type type);  // "float32"; "type 99"
size_t bytes_of(Type type);             // of one number; 0 where it has no fixed size

struct Constant {
  std::string name;
  Type type{};
  std::vector<int64_t> dims;
  std::string values;                           // little-endian
  std::map<std::string, std::string> external;  // "location", "offset", "length": the values are in another file
};

struct Value {
  static constexpr int64_t kUnknown = -1;
  std::string name;
  Type type{};
  std::vector<int64_t> dims;         // kUnknown stands for a dimension without a number
  std::vector<std::string> symbols;  // names of these, "batch", else ""
};

struct Attribute {
  std::vector<int64_t> ints;  // one, or several
  std::vector<float> floats;
  std::vector<std::string> texts;
  std::optional<Constant> tensor;
};

struct Node {
  std::string op, name, domain;
  std::vector<std::string> inputs, outputs;  // "": not there
  std::map<std::string, Attribute> attributes;
  std::map<std::string, std::string> metadata;
};

struct Model {
  int64_t opset = 0;  // of ONNX's own operators
  std::string producer;
  std::vector<Node> nodes;
  std::vector<Constant> constants;
  std::vector<Value> inputs, outputs;
  bool has_functions = false;  // operators that the file defines itself
};

// Throws Error for bytes that are no ONNX model, end early, or hold a tensor whose values are not as many as its
// dimensions say.
Model parse(std::string_view bytes);
// A TensorProto alone, as ONNX's test data hold them.
Constant parse_tensor(std::string_view bytes);

// The model of a file. Values that it keeps in another file are read from there, which must lie in the same folder, or
// below it.
Model read(const std::filesystem::path& file);

}  // namespace qgrad::onnx
