// The shape of a dense row-major tensor: up to six dimensions, held inline.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace qgrad {

class Shape {
 public:
  static constexpr int kMaxRank = 6;

  Shape() = default;  // rank 0: a scalar
  Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}
  // Throws on negative dimensions, on more than kMaxRank, and on more elements than an address can count.
  explicit Shape(std::span<const int64_t> dims);

  int rank() const { return rank_; }
  // Negative positions count from the end, as in PyTorch; throws when out of range.
  int64_t operator[](int i) const { return dims_[static_cast<size_t>(normalize_dim(i))]; }
  void set(int i, int64_t size);  // the same
  int normalize_dim(int i) const;

  int64_t numel() const;
  int64_t numel_from(int i) const;   // product of dimensions i, i+1, ...; 1 when i == rank
  int64_t numel_until(int i) const;  // product of dimensions 0 .. i-1
  std::span<const int64_t> dims() const { return {dims_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const = default;

 private:
  void check_dims() const;
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

std::string to_string(const Shape& shape);  // "[8,32,32,3]"

// NumPy broadcasting of two shapes; throws naming both when they do not fit.
Shape broadcast(const Shape& a, const Shape& b);

}  // namespace qgrad

template <>
struct fmt::formatter<qgrad::Shape> {
  constexpr auto parse(fmt::format_parse_context& ctx) { return ctx.begin(); }
  template <class Context>
  auto format(const qgrad::Shape& shape, Context& ctx) const {
    auto out = ctx.out();
    for (const char c : qgrad::to_string(shape)) *out++ = c;
    return out;
  }
};
