// Softmax and cross entropy over the last dimension.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

struct Logits {
  int64_t count, classes, grain;
  Logits(const char* op, const Tensor& x) {
    check(x.dim(-1) > 0, "{}: expected [.., classes], got {}", op, x.shape());
    classes = x.dim(-1);
    count = x.numel() / classes;
    grain = std::max<int64_t>(1, kElementwiseGrain / classes);
  }
};

// Calls fn(x row, y row) for every row.
template <class F>
void for_each_row(const Logits& rows, const float* x, float* y, F&& fn) {
  parallel_for(rows.count, rows.grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) fn(x + i * rows.classes, y + i * rows.classes);
  });
}

// exponentials = e^(x - max) for one row; returns max and the sum of the exponentials.
struct RowSum {
  float max;
  double sum;
};
RowSum exponentiate(const float* x, float* exponentials, int64_t classes) {
  const auto n = static_cast<size_t>(classes);
  const float max = *std::max_element(x, x + classes);
  kernels().elementwise.add.scalar_right(x, -max, exponentials, n);
  kernels().elementwise.exp(exponentials, exponentials, n);
  return {max, kernels().reduce.sum(exponentials, n)};
}

// op(x) over another dimension than the last: it changes places with that one.
Tensor over_dimension(const char* name, const Tensor& x, int dim, Tensor (*op)(const Tensor&)) {
  check(x.rank() >= 1, "{}: expected [.., classes], got {}", name, x.shape());
  const int d = x.shape().normalize_dim(dim), last = x.rank() - 1;
  if (d == last) return op(x);
  std::array<int, Shape::kMaxRank> order{};
  std::iota(order.begin(), order.end(), 0);
  std::swap(order[static_cast<size_t>(d)], order[static_cast<size_t>(last)]);
  const std::span<const int> exchanged(order.data(), static_cast<size_t>(x.rank()));
  return transpose(op(transpose(x, exchanged)), exchanged);
}

// y = e^x / sum e^x; dx = y (dy - sum dy y)
Tensor softmax_of_rows(const Tensor& x) {
  const Logits rows("softmax", x);
  Tensor y = Tensor::empty(x.shape());
  for_each_row(rows, x.data().data(), y.mutable_data().data(), [&](const float* from, float* to) {
    const RowSum row = exponentiate(from, to, rows.classes);
    kernels().elementwise.mul.scalar_right(to, static_cast<float>(1.0 / row.sum), to,
                                           static_cast<size_t>(rows.classes));
  });
  return record("softmax", y, {x}, [y, rows](Tensor dy, Grads& dx) {
    const float *py = y.data().data(), *base = dy.data().data();
    Tensor g = dy.is_unique() ? std::move(dy) : Tensor::empty(y.shape());
    for_each_row(rows, base, g.mutable_data().data(), [&](const float* from, float* to) {
      const float* p = py + (from - base);
      const auto dot = static_cast<float>(kernels().reduce.dot(from, p, static_cast<size_t>(rows.classes)));
      for (int64_t c = 0; c < rows.classes; ++c) to[c] = p[c] * (from[c] - dot);
    });
    dx.add(0, g);
  });
}

// y = x - log sum e^x; dx = dy - e^y sum dy
Tensor log_softmax_of_rows(const Tensor& x) {
  const Logits rows("log_softmax", x);
  Tensor y = Tensor::empty(x.shape());
  for_each_row(rows, x.data().data(), y.mutable_data().data(), [&](const float* from, float* to) {
    const RowSum row = exponentiate(from, to, rows.classes);
    const auto log_sum = static_cast<float>(std::log(row.sum));
    for (int64_t c = 0; c < rows.classes; ++c) to[c] = (from[c] - row.max) - log_sum;
  });
  return record("log_softmax", y, {x}, [y, rows](Tensor dy, Grads& dx) {
    Tensor g = Tensor::empty(y.shape());
    const float *py = y.data().data(), *pdy = dy.data().data();
    for_each_row(rows, py, g.mutable_data().data(), [&](const float* log_p, float* to) {
      const auto n = static_cast<size_t>(rows.classes);
      const float* gradient = pdy + (log_p - py);
      const auto total = static_cast<float>(kernels().reduce.sum(gradient, n));
      kernels().elementwise.exp(log_p, to, n);
      for (int64_t c = 0; c < rows.classes; ++c) to[c] = gradient[c] - to[c] * total;
    });
    dx.add(0, g);
  });
}

}  // namespace

Tensor softmax(const Tensor& x, int dim) { return over_dimension("softmax", x, dim, softmax_of_rows); }
Tensor log_softmax(const Tensor& x, int dim) { return over_dimension("log_softmax", x, dim, log_softmax_of_rows); }

// loss = mean over rows of -sum_c t_c log p_c; dlogits = dy (p - t) / rows, which forward computes along.
Tensor softmax_cross_entropy(const Tensor& logits, std::span<const int32_t> labels, float label_smoothing) {
  check(logits.rank() == 2 && logits.dim(0) > 0, "softmax_cross_entropy: expected logits [N, classes], got {}",
        logits.shape());
  const Logits rows("softmax_cross_entropy", logits);
  check(static_cast<int64_t>(labels.size()) == rows.count, "softmax_cross_entropy: {} labels for logits {}",
        labels.size(), logits.shape());
  check(label_smoothing >= 0 && label_smoothing <= 1,
        "softmax_cross_entropy: expected a label smoothing of 0 to 1, got {}", label_smoothing);
  for (size_t i = 0; i < labels.size(); ++i)
    check(labels[i] >= 0 && labels[i] < rows.classes, "softmax_cross_entropy: label {} is {}, expected 0 to {}", i,
          labels[i], rows.classes - 1);

  const float elsewhere = label_smoothing / static_cast<float>(rows.classes), at_label = 1.0f - label_smoothing;
  const int64_t count = all_rows(rows.count, logits.is_part());
  const float share = 1.0f / static_cast<float>(count);
  Tensor gradient = Tensor::empty(logits.shape());
  Scratch scratch;
  double* losses = scratch.take<double>(static_cast<size_t>(rows.count));
  const float* base = logits.data().data();
  for_each_row(rows, base, gradient.mutable_data().data(), [&](const float* x, float* g) {
    const int64_t i = (x - base) / rows.classes, label = labels[static_cast<size_t>(i)];
    const RowSum row = exponentiate(x, g, rows.classes);
    const double log_sum = std::log(row.sum) + double{row.max};
    double loss = double{at_label} * (log_sum - double{x[label]});
    if (elsewhere > 0)
      loss += double{elsewhere} * (static_cast<double>(rows.classes) * log_sum -
                                   kernels().reduce.sum(x, static_cast<size_t>(rows.classes)));
    losses[i] = loss;
    const auto normalizer = static_cast<float>(1.0 / row.sum);
    for (int64_t c = 0; c < rows.classes; ++c) g[c] = (g[c] * normalizer - elsewhere) * share;
    g[label] -= at_label * share;
  });
  double total = 0;
  add_in_turn(logits.is_part(), std::span(&total, 1), [&] {
    for (int64_t i = 0; i < rows.count; ++i) total += losses[i];
  });
  Tensor loss = Tensor::scalar(static_cast<float>(total / static_cast<double>(count)));
  loss.set_part(0);
  return record("softmax_cross_entropy", loss, {logits}, [gradient](Tensor dy, Grads& dx) mutable {
    const float factor = dy.item();
    const float* from = gradient.data().data();
    Tensor g = factor == 1.0f ? gradient : Tensor::empty(gradient.shape());
    if (factor != 1.0f)
      kernels().elementwise.mul.scalar_right(from, factor, g.mutable_data().data(), static_cast<size_t>(g.numel()));
    gradient = Tensor();  // so that the next backward may write over it
    dx.add(0, std::move(g));
  });
}

}  // namespace qgrad
