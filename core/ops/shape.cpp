// Ops that move numbers without changing them.
#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Copies `count` blocks of `size` numbers that start every `from_step` and `to_step` numbers.
void copy_blocks(const float* from, int64_t from_step, float* to, int64_t to_step, int64_t size, int64_t count) {
  if (size == 0) return;
  parallel_for(count, std::max<int64_t>(1, kElementwiseGrain / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(to + i * to_step, from + i * from_step, static_cast<size_t>(size) * sizeof(float));
  });
}

Shape with_dim(Shape shape, int dim, int64_t size) {
  shape.set(dim, size);
  return shape;
}

// Dimension i of the result is dimension order[i] of x.
Tensor permuted(const Tensor& x, std::span<const int> order) {
  const int rank = x.rank();
  std::array<int64_t, Shape::kMaxRank> size{}, step{};
  for (size_t i = 0; i < order.size(); ++i) {
    size[i] = x.shape()[order[i]];
    step[i] = x.shape().numel_from(order[i] + 1);
  }
  Tensor y = Tensor::empty(Shape(std::span<const int64_t>(size.data(), order.size())));
  if (y.numel() == 0) return y;
  const float* from = x.data().data();
  float* to = y.mutable_data().data();
  const int64_t columns = rank ? size[static_cast<size_t>(rank - 1)] : 1;
  const int64_t column_step = rank ? step[static_cast<size_t>(rank - 1)] : 1;
  parallel_for(y.numel() / columns, std::max<int64_t>(1, kElementwiseGrain / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, offset = 0;
      for (size_t d = static_cast<size_t>(std::max(rank - 1, 0)); d-- > 0;) {
        offset += rest % size[d] * step[d];
        rest /= size[d];
      }
      float* out = to + row * columns;
      if (column_step == 1)
        std::memcpy(out, from + offset, static_cast<size_t>(columns) * sizeof(float));
      else
        for (int64_t c = 0; c < columns; ++c) out[c] = from[offset + c * column_step];
    }
  });
  return y;
}

}  // namespace

Tensor reshape(const Tensor& x, const Shape& shape) {
  if (ranks() && x.is_part())
    check(shape.rank() > 0 && shape[0] % *x.part() == 0,
          "reshape: of {} to {} the first dimension is not made of {} examples: it can not be trained on several ranks",
          x.shape(), shape, *x.part());
  return record("reshape", x.reshaped(shape), {x},
                [shape = x.shape()](Tensor dy, Grads& dx) { dx.add(0, dy.reshaped(shape)); });
}

Tensor flatten(const Tensor& x) {
  check(x.rank() >= 1, "flatten: expected at least one dimension, got a scalar");
  const Shape flat{x.dim(0), x.shape().numel_from(1)};
  // Without neighbours in space or in channels, both orders are the same.
  const bool reorder = x.rank() == 4 && x.dim(3) != 1 && x.dim(1) * x.dim(2) != 1;
  constexpr int kChannelsFirst[] = {0, 3, 1, 2};
  const Tensor ordered = reorder ? permuted(x, kChannelsFirst) : x;
  return record("flatten", ordered.reshaped(flat), {x},
                [shape = x.shape(), ordered_shape = ordered.shape(), reorder](Tensor dy, Grads& dx) {
                  constexpr int kChannelsLast[] = {0, 2, 3, 1};
                  dx.add(0, reorder ? permuted(dy.reshaped(ordered_shape), kChannelsLast) : dy.reshaped(shape));
                });
}

Tensor concat(std::span<const Tensor> xs, int dim) {
  check(!xs.empty(), "concat: nothing to concatenate");
  const Shape& first = xs[0].shape();
  const int d = first.normalize_dim(dim);
  int64_t total = 0;
  for (const Tensor& x : xs) {
    check_not_over_batch("concat", x, d);
    check(x.rank() == first.rank() && with_dim(x.shape(), d, 0) == with_dim(first, d, 0),
          "concat along dimension {}: shapes {} and {} differ elsewhere", d, first, x.shape());
    total += x.dim(d);
  }
  Tensor y = Tensor::empty(with_dim(first, d, total));
  const int64_t outer = first.numel_until(d), inner = first.numel_from(d + 1);
  int64_t offset = 0;
  for (const Tensor& x : xs) {
    const int64_t size = x.dim(d) * inner;
    copy_blocks(x.data().data(), size, y.mutable_data().data() + offset, total * inner, size, outer);
    offset += size;
  }
  // What backward needs of each input is its size along d alone.
  std::vector<int64_t> sizes;
  for (const Tensor& x : xs) sizes.push_back(x.dim(d));
  return record("concat", y, xs,
                [sizes = std::move(sizes), shape = first, d, outer, inner, total](Tensor dy, Grads& dx) {
                  int64_t at = 0;
                  for (size_t i = 0; i < sizes.size(); ++i) {
                    const int64_t size = sizes[i] * inner;
                    if (dx.needs(i)) {
                      Tensor g = Tensor::empty(with_dim(shape, d, sizes[i]));
                      copy_blocks(dy.data().data() + at, total * inner, g.mutable_data().data(), size, size, outer);
                      dx.add(i, g);
                    }
                    at += size;
                  }
                });
}

Tensor slice(const Tensor& x, int dim, int64_t begin, int64_t end) {
  const int d = x.shape().normalize_dim(dim);
  check_not_over_batch("slice", x, d);
  const int64_t n = x.dim(d);
  check(0 <= begin && begin <= end && end <= n, "slice: [{}, {}) is not within dimension {} of shape {}", begin, end, d,
        x.shape());
  const int64_t outer = x.shape().numel_until(d), inner = x.shape().numel_from(d + 1), size = (end - begin) * inner;
  Tensor y = Tensor::empty(with_dim(x.shape(), d, end - begin));
  copy_blocks(x.data().data() + begin * inner, n * inner, y.mutable_data().data(), size, size, outer);
  return record("slice", y, {x}, [shape = x.shape(), n, begin, outer, inner, size](Tensor dy, Grads& dx) {
    Tensor g = Tensor::zeros(shape);
    copy_blocks(dy.data().data(), size, g.mutable_data().data() + begin * inner, n * inner, size, outer);
    dx.add(0, g);
  });
}

Tensor transpose(const Tensor& x, std::span<const int> order) {
  check(static_cast<int>(order.size()) == x.rank(), "transpose: {} dimensions in the order for shape {}", order.size(),
        x.shape());
  std::array<int, Shape::kMaxRank> forward{}, inverse{};
  std::array<bool, Shape::kMaxRank> seen{};
  for (size_t i = 0; i < order.size(); ++i) {
    const int d = x.shape().normalize_dim(order[i]);
    check(!seen[static_cast<size_t>(d)], "transpose: dimension {} stands twice in the order", d);
    seen[static_cast<size_t>(d)] = true;
    forward[i] = d;
    inverse[static_cast<size_t>(d)] = static_cast<int>(i);
  }
  const size_t rank = order.size();
  if (rank > 0 && forward[0] != 0) check_not_over_batch("transpose", x, 0);
  return record(
      "transpose", permuted(x, std::span<const int>(forward.data(), rank)), {x},
      [inverse, rank](Tensor dy, Grads& dx) { dx.add(0, permuted(dy, std::span<const int>(inverse.data(), rank))); });
}

Tensor pad(const Tensor& x, int dim, int64_t before, int64_t after, float value) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 8;  // three of them add up, in bytes too
  check(before >= 0 && after >= 0 && before <= kMost && after <= kMost,
        "pad: expected amounts from 0 to {}, got {} and {} for shape {}", kMost, before, after, x.shape());
  const int d = x.shape().normalize_dim(dim);
  check_not_over_batch("pad", x, d);
  const int64_t n = x.dim(d) + before + after;
  const int64_t outer = x.shape().numel_until(d), inner = x.shape().numel_from(d + 1), size = x.dim(d) * inner;
  Tensor y = Tensor::full(with_dim(x.shape(), d, n), value);
  copy_blocks(x.data().data(), size, y.mutable_data().data() + before * inner, n * inner, size, outer);
  return record("pad", y, {x}, [shape = x.shape(), n, before, outer, inner, size](Tensor dy, Grads& dx) {
    Tensor g = Tensor::empty(shape);
    copy_blocks(dy.data().data() + before * inner, n * inner, g.mutable_data().data(), size, size, outer);
    dx.add(0, g);
  });
}

}  // namespace qgrad
