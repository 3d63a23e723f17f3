// Shape arithmetic.
#include "core/shape.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace qgrad {

Shape::Shape(std::span<const int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  check(dims.size() <= kMaxRank, "shape: at most {} dimensions are supported, got {}", +kMaxRank, dims.size());
  std::ranges::copy(dims, dims_.begin());
  check_dims();
}

void Shape::set(int i, int64_t size) {
  dims_[static_cast<size_t>(normalize_dim(i))] = size;
  check_dims();
}

void Shape::check_dims() const {
  int64_t bytes = sizeof(float);
  bool fits = true;
  for (size_t i = 0; i < static_cast<size_t>(rank_); ++i) {
    check(dims_[i] >= 0, "shape: dimension {} is negative ({})", i, dims_[i]);
    // Counted without zeros, so that the products of any of the dimensions fit too.
    fits = fits && !__builtin_mul_overflow(bytes, std::max<int64_t>(dims_[i], 1), &bytes);
  }
  check(fits, "shape: {} has too many elements", *this);
}

int Shape::normalize_dim(int i) const {
  const int dim = i < 0 ? i + rank_ : i;
  check(dim >= 0 && dim < rank_, "dimension {} is out of range for shape {}", i, *this);
  return dim;
}

int64_t Shape::numel() const { return numel_from(0); }

int64_t Shape::numel_from(int i) const {
  int64_t n = 1;
  for (int d = i; d < rank_; ++d) n *= dims_[static_cast<size_t>(d)];
  return n;
}

int64_t Shape::numel_until(int i) const {
  int64_t n = 1;
  for (int d = 0; d < i; ++d) n *= dims_[static_cast<size_t>(d)];
  return n;
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.dims(), ",")); }

Shape broadcast(const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<int64_t, Shape::kMaxRank> dims{};
  for (int i = 1; i <= rank; ++i) {
    const int64_t da = i <= a.rank() ? a[-i] : 1, db = i <= b.rank() ? b[-i] : 1;
    check(da == db || da == 1 || db == 1, "shapes {} and {} do not broadcast", a, b);
    dims[static_cast<size_t>(rank - i)] = da == 1 ? db : da;
  }
  return Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(rank)));
}

}  // namespace qgrad
