// Sums, means and extremes. Sums are taken in double, in an order that depends on the shape only.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/kernels/kernels.h"
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
  const double factor = average ? 1.0 / static_cast<double>(n) : 1.0;
  Tensor y = Tensor::empty(shape);
  sum_middle(x.data().data(), outer, n, inner, factor, y.mutable_data().data());
  return record(name, y, {x}, [shape = x.shape(), outer, n, inner, factor](Tensor dy, Grads& dx) {
    Tensor g = Tensor::empty(shape);
    repeat_middle(dy.data().data(), outer, n, inner, static_cast<float>(factor), g.mutable_data().data());
    dx.add(0, g);
  });
}

struct Extremes {
  float min, max;
};

Extremes extremes(const Tensor& x) {
  const int64_t n = x.numel(), chunks = (n + kElementwiseGrain - 1) / kElementwiseGrain;
  Scratch scratch;
  auto* partial = scratch.take<Extremes>(static_cast<size_t>(chunks));
  const float* from = x.data().data();
  parallel_for(n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    Extremes& e = partial[begin / kElementwiseGrain];
    kernels().quant.min_max(from + begin, static_cast<size_t>(end - begin), &e.min, &e.max);
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
  const float value = extremes(x).*which;
  return record(name, Tensor::scalar(value), {x}, [x, value](Tensor dy, Grads& dx) {
    const std::span<const float> from = x.data();
    const float share = dy.item() / static_cast<float>(std::ranges::count(from, value));
    Tensor g = Tensor::empty(x.shape());
    float* to = g.mutable_data().data();
    parallel_for(x.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[static_cast<size_t>(i)] == value ? share : 0.0f;
    });
    dx.add(0, g);
  });
}

}  // namespace

Tensor sum(const Tensor& x) { return sum_over("sum", x, nullptr, false, false); }
Tensor mean(const Tensor& x) { return sum_over("mean", x, nullptr, false, true); }
Tensor sum(const Tensor& x, int dim, bool keep_dim) { return sum_over("sum", x, &dim, keep_dim, false); }
Tensor mean(const Tensor& x, int dim, bool keep_dim) { return sum_over("mean", x, &dim, keep_dim, true); }
Tensor max(const Tensor& x) { return extreme("max", x, &Extremes::max); }
Tensor min(const Tensor& x) { return extreme("min", x, &Extremes::min); }

}  // namespace qgrad
