// Messages in protobuf's wire format, as they are written: ONNX models, TensorBoard's events.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace qgrad {

static_assert(std::endian::native == std::endian::little, "numbers of fixed size are little-endian");

// Fields one after the other, each with its number and wire type.
struct ProtobufMessage {
  std::string bytes;

  ProtobufMessage& number(int field, int64_t value) {
    return begin(field, kVarint).varint(static_cast<uint64_t>(value));
  }
  ProtobufMessage& text(int field, std::string_view value) {
    begin(field, kBytes).varint(value.size()).bytes += value;
    return *this;
  }
  ProtobufMessage& message(int field, const ProtobufMessage& value) { return text(field, value.bytes); }
  ProtobufMessage& real32(int field, float value) { return begin(field, k32Bits).fixed(value); }
  ProtobufMessage& real64(int field, double value) { return begin(field, k64Bits).fixed(value); }
  ProtobufMessage& reals64(int field, std::span<const double> values) {  // packed
    return text(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }

 private:
  enum WireType { kVarint = 0, k64Bits = 1, kBytes = 2, k32Bits = 5 };
  ProtobufMessage& begin(int field, WireType type) { return varint(static_cast<uint64_t>(field) << 3 | type); }
  ProtobufMessage& varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
    bytes += static_cast<char>(value);
    return *this;
  }
  ProtobufMessage& fixed(auto value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
};

}  // namespace qgrad
