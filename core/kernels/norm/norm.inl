// Batch normalisation and mask loops, written once and compiled per instruction set.
#include "core/kernels/norm/norm.h"

#include "core/kernels/lanes.h"

namespace qgrad {
namespace norm_loops {
namespace {

// Rows are summed in float, a few at a time, and these short sums in double: as accurate as it needs to be, and several
// times as fast as converting every number.
constexpr size_t kShortSum = 8;

inline void add_to(double* total, const Lanes& short_sum) {
  DoubleLanes sum = doubles_of(short_sum);
  sum += doubles_at(total);
  store_doubles(total, sum);
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

template <bool kMasked>
void gradient_moments(const float* x, const float* dy, const uint8_t* mask, size_t rows, size_t channels,
                      const float* mean, double* sum, double* sum_products) {
  two_sums(rows, channels, sum, sum_products, [=]<class V>(size_t i, size_t c, V& plain, V& product) {
    V g, v, middle;
    load(dy + i, g);
    load(x + i, v);
    load(mean + c, middle);
    if constexpr (kMasked && sizeof(V) > sizeof(float)) keep_where(mask[i / 8], g);
    plain += g;
    product += g * (v - middle);
  });
}
void gradient_moments(const float* x, const float* dy, const uint8_t* mask, size_t rows, size_t channels,
                      const float* mean, double* sum, double* sum_products) {
  (mask ? gradient_moments<true> : gradient_moments<false>)(x, dy, mask, rows, channels, mean, sum, sum_products);
}

template <bool kAdd, bool kRelu, bool kLimit>
void normalize(const Normalization& f, const float* x, const float* addend, float* y, uint8_t* inside, size_t rows,
               size_t channels) {
  for (size_t row = 0; row < rows; ++row, x += channels, addend += kAdd ? channels : 0, y += channels) {
    size_t c = 0;
    for (; c + kLanes <= channels; c += kLanes) {
      Lanes v = (QGRAD_LOAD(x + c) - QGRAD_LOAD(f.mean + c)) * QGRAD_LOAD(f.scale + c) + QGRAD_LOAD(f.shift + c);
      if constexpr (kAdd) v += QGRAD_LOAD(addend + c);
      if constexpr (kRelu) {
        if (inside) *inside++ = kLimit ? mask_of((v > 0.0f) & (v < f.limit)) : mask_of(v > 0.0f);
        v = v < 0.0f ? Lanes{} : v;
        if constexpr (kLimit) v = v > f.limit ? Lanes{} + f.limit : v;
      }
      QGRAD_STORE(y + c, v);
    }
    for (; c < channels; ++c) {
      float v = (x[c] - f.mean[c]) * f.scale[c] + f.shift[c];
      if constexpr (kAdd) v += addend[c];
      if constexpr (kRelu) v = v < 0.0f ? 0.0f : v;
      if constexpr (kLimit) v = v > f.limit ? f.limit : v;
      y[c] = v;
    }
  }
}
void normalize(const Normalization& f, const float* x, const float* addend, float* y, uint8_t* inside, size_t rows,
               size_t channels) {
  static constexpr decltype(NormKernels::normalize) variants[2][3] = {
      {normalize<false, false, false>, normalize<false, true, false>, normalize<false, true, true>},
      {normalize<true, false, false>, normalize<true, true, false>, normalize<true, true, true>}};
  const int cut = !f.relu ? 0 : f.limit == INFINITY ? 1 : 2;
  variants[f.add][cut](f, x, addend, y, inside, rows, channels);
}

template <bool kMasked>
void normalize_backward(const float* x, const float* dy, const uint8_t* mask, float* dx, size_t rows, size_t channels,
                        const float* mean, const float* a, const float* b, const float* c) {
  for (size_t row = 0; row < rows; ++row, x += channels, dy += channels, dx += channels) {
    size_t k = 0;
    for (; k + kLanes <= channels; k += kLanes) {
      Lanes g = QGRAD_LOAD(dy + k);
      if constexpr (kMasked) keep_where(*mask++, g);
      const Lanes centred = QGRAD_LOAD(x + k) - QGRAD_LOAD(mean + k);
      QGRAD_STORE(dx + k, (g * QGRAD_LOAD(a + k) + centred * QGRAD_LOAD(b + k)) + QGRAD_LOAD(c + k));
    }
    for (; k < channels; ++k) dx[k] = (dy[k] * a[k] + (x[k] - mean[k]) * b[k]) + c[k];
  }
}
void normalize_backward(const float* x, const float* dy, const uint8_t* mask, float* dx, size_t rows, size_t channels,
                        const float* mean, const float* a, const float* b, const float* c) {
  (mask ? normalize_backward<true> : normalize_backward<false>)(x, dy, mask, dx, rows, channels, mean, a, b, c);
}

void apply_mask(const float* dy, const uint8_t* mask, float* dx, size_t n) {
  for (size_t i = 0; i < n; i += kLanes) {
    Lanes g = QGRAD_LOAD(dy + i);
    keep_where(mask[i / 8], g);
    QGRAD_STORE(dx + i, g);
  }
}

void mask_of_range(const float* x, uint8_t* mask, size_t n, float low, float high) {
  for (size_t i = 0; i < n; i += kLanes) {
    const Lanes v = QGRAD_LOAD(x + i);
    mask[i / 8] = mask_of((v >= low) & (v <= high));
  }
}

}  // namespace
}  // namespace norm_loops

NormKernels QGRAD_ROW(norm)() {
  using namespace norm_loops;
  return {.moments = moments,
          .gradient_moments = gradient_moments,
          .normalize = normalize,
          .normalize_backward = normalize_backward,
          .apply_mask = apply_mask,
          .mask_of_range = mask_of_range};
}

}  // namespace qgrad
