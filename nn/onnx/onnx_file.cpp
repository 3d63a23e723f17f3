// Field numbers are those of onnx.proto3.
#include "nn/onnx/onnx_file.h"

#include <fmt/ranges.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/file.h"

namespace qgrad::onnx {
namespace {

static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");

// The fields of a message, one after the other.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  bool next() {
    if (left_.empty()) return false;
    const uint64_t key = varint();
    field = static_cast<int64_t>(key >> 3);
    wire_ = static_cast<int>(key & 7);
    check(field > 0, "ONNX: there is no field 0");
    if (wire_ == kVarint) {
      number_ = varint();
      return true;
    }
    const bool has_length = wire_ == kBytes;
    check(has_length || wire_ == kFixed32 || wire_ == kFixed64, "ONNX: field {} has the unknown wire type {}", field,
          wire_);
    const uint64_t length = has_length ? varint() : wire_ == kFixed32 ? 4 : 8;
    check(length <= left_.size(), "ONNX: field {} has {} bytes, but {} are left", field, length, left_.size());
    bytes_ = left_.substr(0, length);
    left_.remove_prefix(length);
    return true;
  }
  int64_t number() const {
    check(wire_ == kVarint, "ONNX: expected a number in field {}", field);
    return static_cast<int64_t>(number_);
  }
  std::string_view bytes() const {
    check(wire_ == kBytes, "ONNX: expected bytes in field {}", field);
    return bytes_;
  }
  std::string text() const { return std::string(bytes()); }
  template <class T>
  T fixed() const {
    check(wire_ == (sizeof(T) == 4 ? kFixed32 : kFixed64), "ONNX: expected {} bytes in field {}", sizeof(T), field);
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    return value;
  }
  // Repeated numbers stand alone, or many in one field.
  void numbers(std::vector<int64_t>& to) const {
    if (wire_ == kVarint) return to.push_back(number());
    for (Fields packed(bytes()); !packed.left_.empty();) to.push_back(static_cast<int64_t>(packed.varint()));
  }
  template <class T>
  void fixed_numbers(std::vector<T>& to) const {
    if (wire_ != kBytes) return to.push_back(fixed<T>());
    check(bytes_.size() % sizeof(T) == 0, "ONNX: {} bytes in field {} are no numbers of {}", bytes_.size(), field,
          sizeof(T));
    const size_t before = to.size(), count = bytes_.size() / sizeof(T);
    to.resize(before + count);
    if (count > 0) std::memcpy(to.data() + before, bytes_.data(), bytes_.size());
  }

  int64_t field = 0;

 private:
  static constexpr int kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

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
  int wire_ = 0;
};

template <class T>
std::string bytes_of_values(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// Numbers that the file keeps in wider fields than their type needs.
std::string narrowed(const std::vector<int64_t>& numbers, size_t width) {
  std::string bytes;
  bytes.reserve(numbers.size() * width);
  for (const int64_t number : numbers) bytes.append(reinterpret_cast<const char*>(&number), width);
  return bytes;
}

std::pair<std::string, std::string> entry_of(std::string_view bytes) {
  std::pair<std::string, std::string> entry;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) entry.first = f.text();
    if (f.field == 2) entry.second = f.text();
  }
  return entry;
}

int64_t dim_of(std::string_view bytes, std::string& symbol) {
  int64_t dim = Value::kUnknown;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) dim = f.number();
    if (f.field == 2) symbol = f.text();
  }
  return dim;
}

Value value_of(std::string_view bytes) {
  Value value;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) value.name = f.text();
    if (f.field != 2) continue;
    for (Fields type(f.bytes()); type.next();) {
      if (type.field != 1) continue;  // only tensors have a type and a shape here
      for (Fields tensor(type.bytes()); tensor.next();) {
        if (tensor.field == 1) value.type = static_cast<Type>(tensor.number());
        if (tensor.field != 2) continue;
        for (Fields shape(tensor.bytes()); shape.next();) {
          value.symbols.emplace_back();
          value.dims.push_back(dim_of(shape.bytes(), value.symbols.back()));
        }
      }
    }
  }
  return value;
}

Attribute attribute_of(std::string_view bytes, std::string& name) {
  Attribute attribute;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) name = f.text();
    if (f.field == 2) attribute.floats.push_back(f.fixed<float>());
    if (f.field == 3) attribute.ints.push_back(f.number());
    if (f.field == 4 || f.field == 9) attribute.texts.push_back(f.text());
    if (f.field == 5) attribute.tensor = parse_tensor(f.bytes());
    if (f.field == 7) f.fixed_numbers(attribute.floats);
    if (f.field == 8) f.numbers(attribute.ints);
  }
  return attribute;
}

Node node_of(std::string_view bytes) {
  Node node;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) node.inputs.push_back(f.text());
    if (f.field == 2) node.outputs.push_back(f.text());
    if (f.field == 3) node.name = f.text();
    if (f.field == 4) node.op = f.text();
    if (f.field == 7) node.domain = f.text();
    if (f.field == 9) node.metadata.insert(entry_of(f.bytes()));
    if (f.field != 5) continue;
    std::string name;
    Attribute attribute = attribute_of(f.bytes(), name);
    node.attributes[name] = std::move(attribute);
  }
  return node;
}

void read_opset(std::string_view bytes, Model& model) {
  std::string domain;
  int64_t version = 0;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) domain = f.text();
    if (f.field == 2) version = f.number();
  }
  if (domain.empty() || domain == "ai.onnx") model.opset = version;
}

void read_graph(std::string_view bytes, Model& model) {
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) model.nodes.push_back(node_of(f.bytes()));
    if (f.field == 5) model.constants.push_back(parse_tensor(f.bytes()));
    if (f.field == 11) model.inputs.push_back(value_of(f.bytes()));
    if (f.field == 12) model.outputs.push_back(value_of(f.bytes()));
    check(f.field != 15, "ONNX: sparse constants are not supported");
  }
}

// The number of values that the dimensions announce.
uint64_t count_of(const Constant& constant) {
  constexpr uint64_t kMost = uint64_t{1} << 40;
  uint64_t count = 1;
  for (const int64_t dim : constant.dims) {
    check(dim >= 0 && (dim == 0 || count <= kMost / static_cast<uint64_t>(dim)), "{}: the dimension {} is none",
          constant.name, dim);
    count *= static_cast<uint64_t>(dim);
  }
  return count;
}

// Of types that are not known, nothing is said.
void check_values(const Constant& constant) {
  const uint64_t expected = count_of(constant) * bytes_of(constant.type);
  check(bytes_of(constant.type) == 0 || constant.values.size() == expected,
        "{}: expected {} bytes for dimensions [{}], got {}", constant.name, expected, fmt::join(constant.dims, ", "),
        constant.values.size());
}

uint64_t number_at(const Constant& constant, const std::string& key, uint64_t absent) {
  const auto it = constant.external.find(key);
  if (it == constant.external.end()) return absent;
  uint64_t number = 0;
  const std::string& text = it->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  check(error == std::errc() && end == text.data() + text.size(), "{}: the {} of its values, '{}', is no number",
        constant.name, key, text);
  return number;
}

// The file of a constant's values, which no path can lead out of the folder.
std::filesystem::path external_file(const Constant& constant, const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  const auto location = constant.external.find("location");
  check(location != constant.external.end(), "{}: its values are in another file without a name", constant.name);
  std::error_code error;
  const fs::path inside = fs::canonical(folder.empty() ? "." : folder, error);
  const fs::path file = fs::canonical(inside / location->second, error);
  check(!error, "{}: its values are in {}, which is not there", constant.name, (folder / location->second).string());
  const fs::path relative = file.lexically_relative(inside);
  check(!fs::path(location->second).is_absolute() && !relative.empty() && *relative.begin() != "..",
        "{}: its values are in {}, outside the folder of the model", constant.name, location->second);
  check(fs::is_regular_file(file, error), "{}: its values are in {}, which is no file", constant.name,
        location->second);
  return file;
}

void read_external(Constant& constant, const std::filesystem::path& folder) {
  const std::filesystem::path file = external_file(constant, folder);
  const uint64_t size = std::filesystem::file_size(file), offset = number_at(constant, "offset", 0);
  check(offset <= size, "{}: its values begin at byte {} of {}, which has {}", constant.name, offset, file.string(),
        size);
  const uint64_t length = number_at(constant, "length", size - offset);
  check(length == count_of(constant) * bytes_of(constant.type) && length <= size - offset,
        "{}: {} bytes of {} from {} on do not hold its values", constant.name, length, file.string(), offset);
  std::ifstream in(file, std::ios::binary);
  constant.values.resize(length);
  in.seekg(static_cast<std::streamoff>(offset));
  in.read(constant.values.data(), static_cast<std::streamsize>(length));
  check(in.good() || length == 0, "{}: can not read {}", constant.name, file.string());
  constant.external.clear();
}

template <class F>
void for_each_constant(Model& model, F&& fn) {
  for (Constant& constant : model.constants) fn(constant);
  for (Node& node : model.nodes)
    for (auto& [name, attribute] : node.attributes)
      if (attribute.tensor) fn(*attribute.tensor);
}

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::float32:
      return "float32";
    case Type::uint8:
      return "uint8";
    case Type::int8:
      return "int8";
    case Type::uint16:
      return "uint16";
    case Type::int16:
      return "int16";
    case Type::int32:
      return "int32";
    case Type::int64:
      return "int64";
    case Type::string:
      return "string";
    case Type::boolean:
      return "bool";
    case Type::float16:
      return "float16";
    case Type::float64:
      return "float64";
    case Type::uint32:
      return "uint32";
    case Type::uint64:
      return "uint64";
    case Type::bfloat16:
      return "bfloat16";
    default:
      return "a type that is not supported";
  }
}

size_t bytes_of(Type type) {
  switch (type) {
    case Type::uint8:
    case Type::int8:
    case Type::boolean:
      return 1;
    case Type::uint16:
    case Type::int16:
    case Type::float16:
    case Type::bfloat16:
      return 2;
    case Type::float32:
    case Type::int32:
    case Type::uint32:
      return 4;
    case Type::int64:
    case Type::uint64:
    case Type::float64:
      return 8;
    default:
      return 0;
  }
}

Constant parse_tensor(std::string_view bytes) {
  Constant constant;
  std::vector<int64_t> int32s, int64s;
  std::vector<float> floats;
  std::vector<double> doubles;
  bool is_external = false;
  for (Fields f(bytes); f.next();) {
    if (f.field == 1) f.numbers(constant.dims);
    if (f.field == 2) constant.type = static_cast<Type>(f.number());
    if (f.field == 4) f.fixed_numbers(floats);
    if (f.field == 5) f.numbers(int32s);
    if (f.field == 7 || f.field == 11) f.numbers(int64s);
    if (f.field == 8) constant.name = f.text();
    if (f.field == 9) constant.values = f.text();
    if (f.field == 10) f.fixed_numbers(doubles);
    if (f.field == 13) constant.external.insert(entry_of(f.bytes()));
    if (f.field == 14) is_external = f.number() == 1;
  }
  if (!is_external) constant.external.clear();
  if (!floats.empty()) constant.values = bytes_of_values(floats);
  if (!doubles.empty()) constant.values = bytes_of_values(doubles);
  for (const auto& numbers : {int32s, int64s})
    if (!numbers.empty()) constant.values = narrowed(numbers, bytes_of(constant.type));
  if (constant.external.empty()) check_values(constant);
  return constant;
}

Model parse(std::string_view bytes) {
  Model model;
  bool has_graph = false;
  for (Fields f(bytes); f.next();) {
    if (f.field == 2) model.producer = f.text();
    if (f.field == 8) read_opset(f.bytes(), model);
    if (f.field == 25) model.has_functions = true;
    if (f.field != 7) continue;
    read_graph(f.bytes(), model);
    has_graph = true;
  }
  check(has_graph, "ONNX: there is no graph in it");
  return model;
}

Model read(const std::filesystem::path& file) {
  try {
    Model model = parse(read_file(file, "an ONNX model"));
    for_each_constant(model, [&](Constant& constant) {
      if (!constant.external.empty()) read_external(constant, file.parent_path());
    });
    return model;
  } catch (const Error& e) {
    fail("{}: {}", file.string(), e.what());
  }
}

}  // namespace qgrad::onnx
