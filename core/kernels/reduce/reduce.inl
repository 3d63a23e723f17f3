// Reductions, written once and compiled per instruction set.
#include "core/kernels/reduce/reduce.h"

#include "core/kernels/lanes.h"

namespace qgrad {
namespace reduce_loops {
namespace {

// What is summed: a[i], a[i] b[i] or (a[i] - b[i])^2.
enum class Term { plain, product, squared_difference };

// The term in the place of a: of eight lanes, or of one number.
template <Term term, class Doubles>
void combine(Doubles& a, const Doubles& b) {
  if constexpr (term == Term::product) a *= b;
  if constexpr (term == Term::squared_difference) a -= b, a *= a;
}

// Sixteen lanes in two accumulators: element i goes to lane i % 16; the lanes are added in order, then the remainder.
template <Term term>
double reduce(const float* a, const float* b, size_t n) {
  DoubleLanes even = {}, odd = {};
  size_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    DoubleLanes left = doubles_at(a + i), right = doubles_at(a + i + kLanes);
    if constexpr (term != Term::plain) {
      combine<term>(left, doubles_at(b + i));
      combine<term>(right, doubles_at(b + i + kLanes));
    }
    even += left;
    odd += right;
  }
  double total = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) total += even[lane];
  for (size_t lane = 0; lane < kLanes; ++lane) total += odd[lane];
  for (; i < n; ++i) {
    double last = a[i];
    if constexpr (term != Term::plain) combine<term>(last, double{b[i]});
    total += last;
  }
  return total;
}

double sum(const float* x, size_t n) { return reduce<Term::plain>(x, nullptr, n); }
double dot(const float* a, const float* b, size_t n) { return reduce<Term::product>(a, b, n); }
double squared_distance(const float* a, const float* b, size_t n) { return reduce<Term::squared_difference>(a, b, n); }

void sum_columns(const float* x, size_t rows, size_t columns, size_t stride, double* sums) {
  size_t c = 0;
  for (; c + 2 * kLanes <= columns; c += 2 * kLanes) {
    DoubleLanes left = {}, right = {};
    const float* at = x + c;
    for (size_t row = 0; row < rows; ++row, at += stride) {
      left += doubles_at(at);
      right += doubles_at(at + kLanes);
    }
    store_doubles(sums + c, left);
    store_doubles(sums + c + kLanes, right);
  }
  for (; c < columns; ++c) {
    double total = 0;
    for (size_t row = 0; row < rows; ++row) total += double{x[row * stride + c]};
    sums[c] = total;
  }
}

}  // namespace
}  // namespace reduce_loops

ReduceKernels QGRAD_ROW(reduce)() {
  using namespace reduce_loops;
  return {sum, dot, squared_distance, sum_columns};
}

}  // namespace qgrad
