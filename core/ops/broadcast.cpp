// Broadcasting: operands are walked in runs, in each of which both are contiguous or one is a single number.
#include "core/ops/broadcast.h"

#include <algorithm>

#include "core/batch_sum.h"
#include "core/divide_up.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

// The output's dimensions, neighbours merged where both operands allow it, with each operand's step per dimension
// (0: broadcast).
struct Plan {
  int rank = 0;
  int64_t size[Shape::kMaxRank], step_a[Shape::kMaxRank], step_b[Shape::kMaxRank];
};

Plan make_plan(const Shape& out, const Shape& a, const Shape& b) {
  Plan plan;
  int64_t contiguous_a = 1, contiguous_b = 1;
  for (int i = 1; i <= out.rank(); ++i) {  // from the innermost dimension outwards
    const int64_t size = out[-i];
    if (size == 1) continue;
    const bool a_moves = i <= a.rank() && a[-i] != 1, b_moves = i <= b.rank() && b[-i] != 1;
    const int64_t step_a = a_moves ? contiguous_a : 0, step_b = b_moves ? contiguous_b : 0;
    if (a_moves) contiguous_a *= size;
    if (b_moves) contiguous_b *= size;
    const int last = plan.rank - 1;
    if (last >= 0 && (plan.step_a[last] != 0) == a_moves && (plan.step_b[last] != 0) == b_moves) {
      plan.size[last] *= size;
      continue;
    }
    plan.size[plan.rank] = size;
    plan.step_a[plan.rank] = step_a;
    plan.step_b[plan.rank] = step_b;
    ++plan.rank;
  }
  if (plan.rank == 0) {
    plan = {.rank = 1, .size = {1}, .step_a = {1}, .step_b = {1}};
  }
  return plan;
}

// One run of the innermost dimension.
void run(const BinaryKernels& kernels, const Plan& plan, const float* a, const float* b, float* y, int64_t n) {
  const auto count = static_cast<size_t>(n);
  if (plan.step_a[0] != 0 && plan.step_b[0] != 0)
    kernels.same(a, b, y, count);
  else if (plan.step_b[0] == 0)
    kernels.scalar_right(a, *b, y, count);
  else
    kernels.scalar_left(*a, b, y, count);
}

}  // namespace

Tensor broadcast_binary(const char* op, const BinaryKernels& kernels, const Tensor& a, const Tensor& b) {
  const Shape shape = [&] {
    try {
      return broadcast(a.shape(), b.shape());
    } catch (const Error& e) {
      fail("{}: {}", op, e.what());
    }
  }();
  Tensor y = Tensor::empty(shape);
  const float *pa = a.data().data(), *pb = b.data().data();
  float* py = y.mutable_data().data();
  const int64_t n = y.numel();
  if (n == 0) return y;

  const Plan plan = make_plan(shape, a.shape(), b.shape());
  if (plan.rank == 1) {
    parallel_for(n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
      run(kernels, plan, pa + begin * plan.step_a[0], pb + begin * plan.step_b[0], py + begin, end - begin);
    });
    return y;
  }
  const int64_t columns = plan.size[0], rows = n / columns;
  const int64_t grain = std::max<int64_t>(1, kElementwiseGrain / columns);
  if (plan.rank == 2 && plan.step_a[0] == 1 && plan.step_b[0] == 1 && plan.step_a[1] == columns &&
      plan.step_b[1] == 0) {
    parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      kernels.row_right(pa + begin * columns, pb, py + begin * columns, static_cast<size_t>(end - begin),
                        static_cast<size_t>(columns));
    });
    return y;
  }
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, at_a = 0, at_b = 0;
      for (int d = 1; d < plan.rank; ++d) {
        const int64_t index = rest % plan.size[d];
        rest /= plan.size[d];
        at_a += index * plan.step_a[d];
        at_b += index * plan.step_b[d];
      }
      run(kernels, plan, pa + at_a, pb + at_b, py + row * columns, columns);
    }
  });
  return y;
}

namespace {

constexpr int64_t kColumns = 1024;  // columns summed by one task

int64_t column_blocks(int64_t inner) { return divide_up(inner, kColumns); }
int64_t rows_of_chunk(int64_t inner) { return std::max<int64_t>(1, kElementwiseGrain / std::min(inner, kColumns)); }

// One block of columns of some rows of [.., inner].
void sum_rows(const float* x, int64_t rows, int64_t inner, int64_t block, double* y) {
  const auto& reduce = kernels().reduce;
  if (inner == 1) {
    *y = reduce.sum(x, static_cast<size_t>(rows));
    return;
  }
  const int64_t first = block * kColumns, count = std::min(kColumns, inner - first);
  reduce.sum_columns(x + first, static_cast<size_t>(rows), static_cast<size_t>(count), static_cast<size_t>(inner),
                     y + first);
}

}  // namespace

void sum_leading(const float* x, int64_t n, int64_t inner, bool part, double factor, float* y) {
  if (inner == 0) return;
  const BatchChunks chunks(n, part, inner, rows_of_chunk(inner));
  const int64_t blocks = column_blocks(inner);
  Scratch scratch;
  double* partial = scratch.take<double>(static_cast<size_t>(chunks.count() * inner));
  chunks.for_each(rows_of_chunk(inner), [&](int64_t chunk, int64_t first, int64_t last) {
    for (int64_t block = 0; block < blocks; ++block)
      sum_rows(x + first * inner, last - first, inner, block, partial + chunk * inner);
  });
  fold(part, partial, chunks.count(), inner);
  for (int64_t i = 0; i < inner; ++i) y[i] = static_cast<float>(factor * partial[i]);
}

void sum_middle(const float* x, int64_t outer, int64_t n, int64_t inner, double factor, float* y) {
  if (outer * inner == 0) return;
  const int64_t blocks = column_blocks(inner), rows = rows_of_chunk(inner),
                chunks = std::max<int64_t>(1, divide_up(n, rows));
  // Partial sums [outer, chunks, inner], each by one task, then added in the order of the chunks.
  Scratch scratch;
  double* partial = scratch.take<double>(static_cast<size_t>(outer * chunks * inner));
  const int64_t grain =
      std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, std::min(n, rows) * std::min(inner, kColumns)));
  parallel_for(outer * chunks * blocks, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t chunk = task / blocks % chunks, o = task / blocks / chunks, first = chunk * rows;
      sum_rows(x + (o * n + first) * inner, std::min(rows, n - first), inner, task % blocks,
               partial + (o * chunks + chunk) * inner);
    }
  });
  parallel_for(outer * inner, kElementwiseGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double* column = partial + i / inner * chunks * inner + i % inner;
      double total = 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) total += column[chunk * inner];
      y[i] = static_cast<float>(factor * total);
    }
  });
}

void repeat_middle(const float* x, int64_t outer, int64_t n, int64_t inner, float factor, float* y) {
  if (inner == 1) {
    parallel_for(outer * n, kElementwiseGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t row = i / n, stop = std::min(end, (row + 1) * n);
        std::fill(y + i, y + stop, factor * x[row]);
        i = stop;
      }
    });
    return;
  }
  parallel_for(outer * n, std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, inner)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   kernels().elementwise.mul.scalar_right(x + i / n * inner, factor, y + i * inner,
                                                          static_cast<size_t>(inner));
               });
}

Tensor sum_to(Tensor x, const Shape& shape, bool over_ranks) {
  const int missing = x.rank() - shape.rank();
  const Shape full = x.shape();
  check(!over_ranks || missing > 0 || full.rank() == 0 || shape[0] == 1,
        "an operand of shape {} has as many examples as the part {} of a batch, but is none", shape, full);
  if (full == shape && !over_ranks) return x;
  // One group of neighbouring dimensions after another, from the last.
  const auto reduced = [&](int d) {
    return (full[d] != 1 && (d < missing || shape[d - missing] == 1)) || (over_ranks && d == 0);
  };
  Tensor total = x;
  int64_t inner = 1;
  for (int d = full.rank() - 1; d >= 0;) {
    if (!reduced(d)) {
      inner *= full[d];
      --d;
      continue;
    }
    int64_t n = 1;
    // Dimensions of one element belong to any group.
    for (; d >= 0 && (reduced(d) || full[d] == 1); --d) n *= full[d];
    const int64_t outer = full.numel_until(d + 1);
    Tensor next = Tensor::empty({outer, inner});
    if (d < 0)
      sum_leading(total.data().data(), n, inner, over_ranks, 1.0, next.mutable_data().data());
    else
      sum_middle(total.data().data(), outer, n, inner, 1.0, next.mutable_data().data());
    total = std::move(next);
  }
  return total.reshaped(shape);
}

}  // namespace qgrad
