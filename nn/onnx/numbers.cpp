// The numbers of a file's constants, whatever their type, as floats or as whole numbers.
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

float half_to_float(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double value = exponent == 31  ? (fraction ? NAN : INFINITY)
                       : exponent == 0 ? std::ldexp(fraction, -24)
                                       : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(bits & 0x8000 ? -value : value);
}

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

template <class T>
T value_at(const std::string& bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class From, class To, class F>
std::vector<To> converted(const Constant& constant, F&& convert) {
  std::vector<To> values(constant.values.size() / sizeof(From));
  for (size_t i = 0; i < values.size(); ++i) values[i] = convert(value_at<From>(constant.values, i));
  return values;
}
template <class From, class To>
std::vector<To> converted(const Constant& constant) {
  return converted<From, To>(constant, [](From value) { return static_cast<To>(value); });
}

std::vector<int64_t> whole_numbers(const Constant& c) {
  switch (c.type) {
    case Type::boolean:
    case Type::uint8:
      return converted<uint8_t, int64_t>(c);
    case Type::int8:
      return converted<int8_t, int64_t>(c);
    case Type::uint16:
      return converted<uint16_t, int64_t>(c);
    case Type::int16:
      return converted<int16_t, int64_t>(c);
    case Type::int32:
      return converted<int32_t, int64_t>(c);
    case Type::uint32:
      return converted<uint32_t, int64_t>(c);
    case Type::int64:
      return converted<int64_t, int64_t>(c);
    case Type::uint64:
      return converted<uint64_t, int64_t>(c, [&](uint64_t value) {
        check(std::in_range<int64_t>(value), "{}: {} is larger than whole numbers here can be", c.name, value);
        return static_cast<int64_t>(value);
      });
    default:
      fail("{}: constants of {} are not supported", c.name, type_name(c.type));
  }
}

std::vector<float> real_numbers(const Constant& c) {
  switch (c.type) {
    case Type::float64:
      return converted<double, float>(c);
    case Type::float16:
      return converted<uint16_t, float>(c, half_to_float);
    case Type::bfloat16:
      return converted<uint16_t, float>(c, bfloat_to_float);
    default:
      return converted<float, float>(c);
  }
}

bool is_real(Type type) {
  return type == Type::float32 || type == Type::float64 || type == Type::float16 || type == Type::bfloat16;
}

}  // namespace

Known constant_of(const Constant& constant) {
  check(constant.external.empty(), "{}: its values are in another file, which was not read", constant.name);
  if (!is_real(constant.type)) return constant_of(whole_numbers(constant), constant.dims);
  return constant_of(Tensor::from(Shape(constant.dims), real_numbers(constant)));
}

Known constant_of(Tensor floats) {
  const std::span<const int64_t> dims = floats.shape().dims();
  Known known{.dims = Dims(dims.begin(), dims.end())};
  known.order = in_order(known.dims.size());
  known.floats = std::move(floats);
  return known;
}

Known constant_of(std::vector<int64_t> ints, Dims dims) {
  Known known{.dims = std::move(dims)};
  known.order = in_order(known.dims.size());
  known.ints = std::move(ints);
  return known;
}

}  // namespace qgrad::onnx
