// Sums, means and extremes. Sums are taken in double, in an order that depends on the shape only.
#include <algorithm>
#include <array>

#include "core/batch_sum.h"
#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/ops/broadcast.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Sums over dimension `dim` (all of them when null), times 1 / count for a mean.
Tensor sum_over(const char* name, const Tensor& x, const int* dim, bool keep_dim, bool average) {
  int64_t outer = 1, n = x.numel(), inner = 1;
  Shape shape;
  if (dim) {
    const int d = x.shape().normalize_dim(*dim);
    outer = x.shape().numel_until(d);
    n = x.shape()[d];
    inner = x.shape().numel_from(d + 1);
    std::array<int64_t, Shape::kMaxRank> dims{};
    size_t rank = 0;
    for (int i = 0; i < x.rank(); ++i)
      if (i != d || keep_dim) dims[rank++] = i == d ? 1 : x.shape()[i];
    shape = Shape(std::span<const int64_t>(dims.data(), rank));
  }
  check(!average || n > 0, "{}: the mean of no elements, shape {}", name, x.shape());
  const bool over_batch = !dim || x.shape().normalize_dim(*dim) == 0, part = over_batch && x.is_part();
  const double factor = average ? 1.0 / static_cast<double>(all_rows(n, part)) : 1.0;
  Tensor y = Tensor::empty(shape);
  if (over_batch)
    sum_leading(x.data().data(), n, inner, part, factor, y.mutable_data().data());
  else
    sum_middle(x.data().data(), outer, n, inner, factor, y.mutable_data().data());
  if (part) y.set_part(0);
  return record(name, y, {x}, [shape = x.shape(), outer, n, inner, factor](const Tensor& dy, Grads& dx) {
    Tensor g = Tensor::empty(shape);
    repeat_middle(dy.data().data(), outer, n, inner, static_cast<float>(factor), g.mutable_data().data());
    dx.add(0, g);
  });
}

// The sum of what `kernel` sums of a pair of numbers, over all pairs.
double sum_of_pairs(const char* name, double (*kernel)(const float*, const float*, size_t), const Tensor& a,
                    const Tensor& b) {
  check(a.shape() == b.shape(), "{}: expected two tensors of one shape, got {} and {}", name, a.shape(), b.shape());
  const bool part = a.is_part() || b.is_part();
  const BatchChunks chunks(a.numel(), part, 1, kElementwiseGrain);
  Scratch scratch;
  auto* partial = scratch.take<double>(static_cast<size_t>(chunks.count()));
  const float *pa = a.data().data(), *pb = b.data().data();
  chunks.for_each(kElementwiseGrain, [&](int64_t chunk, int64_t first, int64_t last) {
    partial[chunk] = kernel(pa + first, pb + first, static_cast<size_t>(last - first));
  });
  fold(part, partial, chunks.count(), 1);
  return *partial;
}

// Of the whole batch, where x is a part.
Tensor total_of(double value) {
  Tensor y = Tensor::scalar(static_cast<float>(value));
  y.set_part(0);
  return y;
}

// A tensor of x's shape that fill(first number, numbers, count) fills piece by piece.
template <class F>
Tensor filled_in_chunks(const Tensor& x, F&& fill) {
  Tensor y = Tensor::empty(x.shape());
  float* to = y.mutable_data().data();
  parallel_for(y.numel(), kElementwiseGrain,
               [&](int64_t begin, int64_t end) { fill(begin, to + begin, static_cast<size_t>(end - begin)); });
  return y;
}

struct Extremes {
  float min, max;
};

Extremes extremes(const Tensor& x) {
  const int64_t n = x.numel(), chunks = divide_up(n, kElementwiseGrain);
  Scratch scratch;
  auto* partial = scratch.take<Extremes>(static_cast<size_t>(chunks));
  const float* from = x.data().data();
  parallel_for(n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    Extremes& e = partial[begin / kElementwiseGrain];
    kernels().quantize.min_max(from + begin, static_cast<size_t>(end - begin), &e.min, &e.max);
  });
  Extremes all = partial[0];
  for (int64_t i = 1; i < chunks; ++i) {
    all.min = std::min(all.min, partial[i].min);
    all.max = std::max(all.max, partial[i].max);
  }
  return all;
}

// The gradient of an extreme: dy divided among the elements equal to it.
Tensor extreme(const char* name, const Tensor& x, float Extremes::*which) {
  check(x.numel() > 0, "{}: a tensor without elements, shape {}", name, x.shape());
  check_not_over_batch(name, x, 0);
  const float value = extremes(x).*which;
  return record(name, Tensor::scalar(value), {x}, [x, value](const Tensor& dy, Grads& dx) {
    const std::span<const float> from = x.data();
    const float share = dy.item() / static_cast<float>(std::ranges::count(from, value));
    dx.add(0, filled_in_chunks(x, [&](int64_t begin, float* to, size_t count) {
             const float* values = from.data() + begin;
             for (size_t i = 0; i < count; ++i) to[i] = values[i] == value ? share : 0.0f;
           }));
  });
}

}  // namespace

Tensor sum(const Tensor& x) { return sum_over("sum", x, nullptr, false, false); }
Tensor mean(const Tensor& x) { return sum_over("mean", x, nullptr, false, true); }
Tensor sum(const Tensor& x, int dim, bool keep_dim) { return sum_over("sum", x, &dim, keep_dim, false); }
Tensor mean(const Tensor& x, int dim, bool keep_dim) { return sum_over("mean", x, &dim, keep_dim, true); }

// da = dy b, db = dy a
Tensor dot(const Tensor& a, const Tensor& b) {
  const double total = sum_of_pairs("dot", kernels().reduce.dot, a, b);
  return record("dot", total_of(total), {a, b}, [a, b](Tensor dy, Grads& dx) {
    const auto scaled = [&](const Tensor& x) {
      return filled_in_chunks(x, [&, from = x.data().data()](int64_t begin, float* to, size_t count) {
        kernels().elementwise.mul.scalar_right(from + begin, dy.item(), to, count);
      });
    };
    if (dx.needs(0)) dx.add(0, scaled(b));
    if (dx.needs(1)) dx.add(1, scaled(a));
  });
}

// da = 2 dy (a - b), db = -da
Tensor squared_distance(const Tensor& a, const Tensor& b) {
  const double total = sum_of_pairs("squared_distance", kernels().reduce.squared_distance, a, b);
  return record("squared_distance", total_of(total), {a, b}, [a, b](Tensor dy, Grads& dx) {
    const auto difference = [&](const Tensor& x, const Tensor& from) {
      return filled_in_chunks(
          x, [&, px = x.data().data(), py = from.data().data()](int64_t begin, float* to, size_t count) {
            kernels().elementwise.scaled_difference(px + begin, py + begin, 2 * dy.item(), to, count);
          });
    };
    if (dx.needs(0)) dx.add(0, difference(a, b));
    if (dx.needs(1)) dx.add(1, difference(b, a));
  });
}

Tensor max(const Tensor& x) { return extreme("max", x, &Extremes::max); }
Tensor min(const Tensor& x) { return extreme("min", x, &Extremes::min); }

}  // namespace qgrad
