// Batch normalisation loops, written once and compiled per instruction set: the including file names QGRAD_NORM.
#include "core/kernels/lanes.h"

namespace qgrad {
namespace {

// Rows are summed in float, a few at a time, and these short sums in double: as accurate as it needs to be, and several
// times as fast as converting every number.
constexpr size_t kShortSum = 8;

inline void add_to(double* total, const Lanes& short_sum) {
  *(UnalignedDoubleLanes*)total += QGRAD_TO_DOUBLE(short_sum);
}
inline void add_to(double* total, const float& short_sum) { *total += double{short_sum}; }

// sums a and b, [channels] each, of two terms over all rows: term(i, c, sum a, sum b) adds those of the numbers at i,
// which belong to channel c, for eight channels at once or for one.
template <class F>
inline void two_sums(size_t rows, size_t channels, double* a, double* b, F&& term) {
  for (size_t c = 0; c < channels; ++c) a[c] = b[c] = 0;
  for (size_t row = 0; row < rows; row += kShortSum) {
    const size_t last = row + kShortSum < rows ? row + kShortSum : rows;
    size_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Lanes short_a = {}, short_b = {};
      for (size_t r = row; r < last; ++r) term(r * channels + c, c, short_a, short_b);
      add_to(a + c, short_a);
      add_to(b + c, short_b);
    }
    for (; c < channels; ++c) {
      float short_a = 0, short_b = 0;
      for (size_t r = row; r < last; ++r) term(r * channels + c, c, short_a, short_b);
      add_to(a + c, short_a);
      add_to(b + c, short_b);
    }
  }
}

inline void load(const float* at, Lanes& to) { to = QGRAD_LOAD(at); }
inline void load(const float* at, float& to) { to = *at; }

void moments(const float* x, size_t rows, size_t channels, const float* centre, double* sum, double* sum_squares) {
  two_sums(rows, channels, sum, sum_squares, [=]<class V>(size_t i, size_t c, V& plain, V& square) {
    V v, middle;
    load(x + i, v);
    load(centre + c, middle);
    v -= middle;
    plain += v;
    square += v * v;
  });
}

void gradient_moments(const float* x, const float* dy, size_t rows, size_t channels, const float* mean, double* sum,
                      double* sum_products) {
  two_sums(rows, channels, sum, sum_products, [=]<class V>(size_t i, size_t c, V& plain, V& product) {
    V g, v, middle;
    load(dy + i, g);
    load(x + i, v);
    load(mean + c, middle);
    plain += g;
    product += g * (v - middle);
  });
}

void normalize(const float* x, float* y, size_t rows, size_t channels, const float* mean, const float* scale,
               const float* shift) {
  for (size_t row = 0; row < rows; ++row, x += channels, y += channels) {
#pragma GCC ivdep
    for (size_t c = 0; c < channels; ++c) y[c] = (x[c] - mean[c]) * scale[c] + shift[c];
  }
}

void normalize_backward(const float* x, const float* dy, float* dx, size_t rows, size_t channels, const float* mean,
                        const float* a, const float* b, const float* c) {
  for (size_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
#pragma GCC ivdep
    for (size_t k = 0; k < channels; ++k) dx[k] = (dy[k] * a[k] + (x[k] - mean[k]) * b[k]) + c[k];
  }
}

}  // namespace

NormKernels QGRAD_NORM() { return {moments, gradient_moments, normalize, normalize_backward}; }

}  // namespace qgrad
