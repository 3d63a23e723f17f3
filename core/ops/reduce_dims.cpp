// Reductions of several dimensions. Neighbouring ones are reduced at once, from the last.
#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/ops/broadcast.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// x seen as [outer, n, inner], of which the middle is reduced.
struct Group {
  int64_t outer, n, inner;
};

struct Reduction {
  std::vector<Group> groups;  // from the last dimension; each sees what the one before it left
  Shape kept, result;         // with the reduced dimensions of size 1, and as asked for
  int64_t count = 1;          // numbers that become one
  bool over_batch = false;    // whether the first dimension is reduced, by the last group
};

Reduction reduction_of(const char* op, const Shape& x, std::span<const int> dims, bool keep_dims) {
  std::array<bool, Shape::kMaxRank> reduced{};
  for (const int dim : dims) {
    const auto d = static_cast<size_t>(x.normalize_dim(dim));
    check(!reduced[d], "{}: dimension {} of {} stands twice among those to reduce", op, d, x);
    reduced[d] = true;
  }
  const auto is_reduced = [&](int d) { return dims.empty() || reduced[static_cast<size_t>(d)]; };
  Reduction r{.kept = x};
  std::vector<int64_t> left;
  for (int d = 0; d < x.rank(); ++d) {
    if (is_reduced(d)) r.kept.set(d, 1), r.count *= x[d];
    if (!is_reduced(d) || keep_dims) left.push_back(r.kept[d]);
  }
  r.result = Shape(left);
  int64_t inner = 1;
  for (int d = x.rank() - 1; d >= 0;) {
    if (!is_reduced(d)) {
      inner *= x[d--];
      continue;
    }
    int64_t n = 1;
    for (; d >= 0 && is_reduced(d); --d) n *= x[d];
    r.over_batch = d < 0;
    r.groups.push_back({x.numel_until(d + 1), n, inner});
  }
  return r;
}

// Calls reduce(x, group, y) for every group.
template <class F>
Tensor reduced(const Tensor& x, const Reduction& r, F&& reduce) {
  Tensor left = x;
  for (const Group& g : r.groups) {
    Tensor next = Tensor::empty({g.outer, g.inner});
    reduce(left.data().data(), g, next.mutable_data().data());
    left = std::move(next);
  }
  return left.reshaped(r.result);
}

// The numbers of y, [kept], repeated to the shape that they were reduced from, of which `part` is a part of a batch.
Tensor repeated(const Tensor& y, const Reduction& r, const Shape& shape, bool average, bool part) {
  Tensor wide = y;
  for (auto g = r.groups.rbegin(); g != r.groups.rend(); ++g) {
    Tensor next = Tensor::empty({g->outer, g->n, g->inner});
    const int64_t count = all_rows(g->n, part && r.over_batch && g == r.groups.rbegin());
    const float factor = average ? static_cast<float>(1.0 / static_cast<double>(count)) : 1.0f;
    repeat_middle(wide.data().data(), g->outer, g->n, g->inner, factor, next.mutable_data().data());
    wide = std::move(next);
  }
  return wide.reshaped(shape);
}

Tensor sum_over_dims(const char* op, const Tensor& x, std::span<const int> dims, bool keep_dims, bool average) {
  Reduction r = reduction_of(op, x.shape(), dims, keep_dims);
  check(!average || r.count > 0, "{}: the mean of no elements, shape {}", op, x.shape());
  const bool part = x.is_part();
  Tensor y = reduced(x, r, [&](const float* from, const Group& g, float* to) {
    const bool leading = r.over_batch && &g == &r.groups.back();
    const double factor = average ? 1.0 / static_cast<double>(all_rows(g.n, leading && part)) : 1.0;
    if (leading)
      sum_leading(from, g.n, g.inner, part, factor, to);
    else
      sum_middle(from, g.outer, g.n, g.inner, factor, to);
  });
  if (part && r.over_batch) y.set_part(0);
  return record(op, y, {x}, [r = std::move(r), shape = x.shape(), average, part](const Tensor& dy, Grads& dx) {
    dx.add(0, repeated(dy, r, shape, average, part));
  });
}

// y [outer, inner] = the extreme of the middle of x; of no numbers, `none`.
void extreme_of_middle(const BinaryKernels& larger, float none, const float* x, const Group& g, float* y) {
  parallel_for(g.outer, std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, g.n * g.inner)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t o = begin; o < end; ++o) {
                   const float* from = x + o * g.n * g.inner;
                   float* to = y + o * g.inner;
                   if (g.n == 0) std::fill_n(to, g.inner, none);
                   if (g.n > 0) std::copy_n(from, g.inner, to);
                   for (int64_t i = 1; i < g.n; ++i)
                     larger.same(from + i * g.inner, to, to, static_cast<size_t>(g.inner));
                 }
               });
}

// The gradient is shared equally among equal extremes, as that of PyTorch's amax.
Tensor extreme_over_dims(const char* op, const Tensor& x, std::span<const int> dims, bool keep_dims, bool is_max) {
  Reduction r = reduction_of(op, x.shape(), dims, keep_dims);
  if (r.over_batch) check_not_over_batch(op, x, 0);
  const auto& k = kernels().elementwise;
  const float none = is_max ? -kInfinity : kInfinity;
  Tensor y = reduced(x, r, [&](const float* from, const Group& g, float* to) {
    extreme_of_middle(is_max ? k.max : k.min, none, from, g, to);
  });
  return record(op, y, {x}, [x, y, op, r = std::move(r)](const Tensor& dy, Grads& dx) {
    const auto& e = kernels().elementwise;
    const auto shares = broadcast_binary(op, e.equal, x, y.reshaped(r.kept));
    const Tensor of_one =
        broadcast_binary(op, e.div, dy.reshaped(r.kept), sum_to(shares, r.kept, /*over_ranks=*/false));
    dx.add(0, broadcast_binary(op, e.mul, shares, of_one));
  });
}

}  // namespace

Tensor sum(const Tensor& x, std::span<const int> dims, bool keep_dims) {
  return sum_over_dims("sum", x, dims, keep_dims, false);
}
Tensor mean(const Tensor& x, std::span<const int> dims, bool keep_dims) {
  return sum_over_dims("mean", x, dims, keep_dims, true);
}
Tensor max(const Tensor& x, std::span<const int> dims, bool keep_dims) {
  return extreme_over_dims("max", x, dims, keep_dims, true);
}
Tensor min(const Tensor& x, std::span<const int> dims, bool keep_dims) {
  return extreme_over_dims("min", x, dims, keep_dims, false);
}

}  // namespace qgrad
