// Ops that choose and repeat numbers along dimensions.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/ops.h"
#include "core/ops/broadcast.h"
#include "core/ops/linear_map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Where position i of a dimension of size n is read from, i before 0 or behind it.
int64_t reflected(int64_t i, int64_t n) {
  if (n == 1) return 0;
  const int64_t period = 2 * (n - 1), phase = (i % period + period) % period;
  return std::min(phase, period - phase);
}
int64_t source_of(int64_t i, int64_t n, PadMode mode) {
  if (mode == PadMode::reflect) return reflected(i, n);
  if (mode == PadMode::wrap) return (i % n + n) % n;
  return std::clamp<int64_t>(i, 0, n - 1);
}

// One dimension of a pad.
Tensor padded(const Tensor& x, int dim, int64_t before, int64_t after, PadMode mode, float value) {
  const int64_t n = x.dim(dim), first = std::max<int64_t>(0, -before), last = std::min(n, n + after);
  check(first <= last, "pad: {} and {} leave nothing of dimension {} of shape {}", before, after, dim, x.shape());
  const Tensor left = first > 0 || last < n ? slice(x, dim, first, last) : x;
  before = std::max<int64_t>(0, before), after = std::max<int64_t>(0, after);
  if (before == 0 && after == 0) return left;
  if (mode == PadMode::constant) return pad(left, dim, before, after, value);
  const int64_t size = last - first;
  check(size > 0, "pad: there is nothing to repeat in dimension {} of shape {}", dim, x.shape());
  check(before <= kMostPadding && after <= kMostPadding, "pad: expected at most {} on a side, got {} and {}",
        kMostPadding, before, after);
  LinearMap map(size);
  for (int64_t i = -before; i < size + after; ++i) map.choose(source_of(i, size, mode));
  return mapped("pad", left, dim, std::move(map));
}

}  // namespace

Tensor slice(const Tensor& x, int dim, std::optional<int64_t> begin, std::optional<int64_t> end, int64_t step) {
  check(step != 0, "slice: a step of 0");
  const int d = x.shape().normalize_dim(dim);
  const int64_t n = x.dim(d), lowest = step > 0 ? 0 : -1, highest = step > 0 ? n : n - 1;
  const auto position = [&](std::optional<int64_t> at, int64_t absent) {
    if (!at) return absent;
    return std::clamp(*at < 0 ? *at + n : *at, lowest, highest);
  };
  const int64_t from = position(begin, step > 0 ? lowest : highest), to = position(end, step > 0 ? highest : lowest);
  if (step == 1) return slice(x, d, from, std::max(from, to));
  LinearMap map(n);
  for (int64_t i = from; step > 0 ? i < to : i > to; i += std::clamp(step, -n - 1, n + 1)) map.choose(i);
  return mapped("slice", x, d, std::move(map));
}

Tensor index_select(const Tensor& x, int dim, std::span<const int64_t> indices) {
  const int64_t n = x.dim(dim);
  LinearMap map(n);
  for (const int64_t i : indices) {
    check(i >= -n && i < n, "index_select: there is no place {} in dimension {} of shape {}", i, dim, x.shape());
    map.choose(i < 0 ? i + n : i);
  }
  return mapped("index_select", x, dim, std::move(map));
}

Tensor pad(const Tensor& x, std::span<const int64_t> before, std::span<const int64_t> after, PadMode mode,
           float value) {
  const auto rank = static_cast<size_t>(x.rank());
  check(before.size() == rank && after.size() == rank, "pad: {} and {} amounts for shape {}", before.size(),
        after.size(), x.shape());
  Tensor y = x;
  for (size_t d = 0; d < rank; ++d) y = padded(y, static_cast<int>(d), before[d], after[d], mode, value);
  return y;
}

// dx = dy summed over what was repeated
Tensor expand(const Tensor& x, const Shape& shape) {
  bool fits = x.rank() <= shape.rank();
  for (int i = 1; fits && i <= x.rank(); ++i) fits = x.dim(-i) == shape[-i] || x.dim(-i) == 1;
  check(fits, "expand: {} does not broadcast to {}", x.shape(), shape);
  if (x.shape() == shape) return x;
  Tensor y = x;
  const int missing = shape.rank() - x.rank();
  for (int d = shape.rank() - 1; d >= 0; --d) {  // from the last, so that what is repeated is small for long
    if (shape[d] == 1 || (d >= missing && x.dim(d - missing) != 1)) continue;
    const int64_t inner = shape.numel_from(d + 1), outer = inner == 0 ? 0 : y.numel() / inner;
    Tensor next = Tensor::empty({outer, shape[d], inner});
    repeat_middle(y.data().data(), outer, shape[d], inner, 1, next.mutable_data().data());
    y = std::move(next);
  }
  return record("expand", y.reshaped(shape), {x},
                [from = x.shape()](Tensor dy, Grads& dx) { dx.add(0, sum_to(std::move(dy), from, dx.over_ranks(0))); });
}

}  // namespace qgrad
