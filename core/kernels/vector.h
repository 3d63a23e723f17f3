// One register of floats, as wide as the including file may use: 8 lanes with AVX2, 16 with AVX-512, else one. Tiles of
// matrix products and convolutions are written over it once. A lane is a sum of its own, so results do not depend on
// the width. Included by files for one instruction set only.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif
#include <stdint.h>

#include "core/kernels/functions.h"

namespace qgrad {
namespace {

#ifdef __AVX512F__

constexpr int kVectorLanes = 16;
typedef __m512 Vector;
typedef __mmask16 Mask;

inline Mask first_lanes(int64_t lanes) {
  return static_cast<Mask>(lanes >= 16 ? 0xffff : lanes <= 0 ? 0 : (1 << lanes) - 1);
}
inline Vector zeros() { return _mm512_setzero_ps(); }
inline Vector broadcast(const float* x) { return _mm512_set1_ps(*x); }
inline Vector load(const float* from) { return _mm512_loadu_ps(from); }
inline Vector load(const float* from, Mask mask) { return _mm512_maskz_loadu_ps(mask, from); }
inline void store(float* to, Vector value) { _mm512_storeu_ps(to, value); }
inline void store(float* to, Mask mask, Vector value) { _mm512_mask_storeu_ps(to, mask, value); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm512_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm512_mul_ps(a, b); }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
inline Vector clamp(Vector x, Vector low, Vector high) { return _mm512_min_ps(high, _mm512_max_ps(low, x)); }

#elif defined(__AVX2__)

constexpr int kVectorLanes = 8;
typedef __m256 Vector;
typedef __m256i Mask;

inline Mask first_lanes(int64_t lanes) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes)), index);
}
inline Vector zeros() { return _mm256_setzero_ps(); }
inline Vector broadcast(const float* x) { return _mm256_broadcast_ss(x); }
inline Vector load(const float* from) { return _mm256_loadu_ps(from); }
inline Vector load(const float* from, Mask mask) { return _mm256_maskload_ps(from, mask); }
inline void store(float* to, Vector value) { _mm256_storeu_ps(to, value); }
inline void store(float* to, Mask mask, Vector value) { _mm256_maskstore_ps(to, mask, value); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector subtract(Vector a, Vector b) { return _mm256_sub_ps(a, b); }
inline Vector multiply(Vector a, Vector b) { return _mm256_mul_ps(a, b); }
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
inline Vector clamp(Vector x, Vector low, Vector high) { return _mm256_min_ps(high, _mm256_max_ps(low, x)); }

#else

constexpr int kVectorLanes = 1;
typedef float Vector;
typedef bool Mask;

inline Mask first_lanes(int64_t lanes) { return lanes >= 1; }
inline Vector zeros() { return 0.0f; }
inline Vector broadcast(const float* x) { return *x; }
inline Vector load(const float* from) { return *from; }
inline Vector load(const float* from, Mask mask) { return mask ? *from : 0.0f; }
inline void store(float* to, Vector value) { *to = value; }
inline void store(float* to, Mask mask, Vector value) {
  if (mask) *to = value;
}
inline Vector add(Vector a, Vector b) { return a + b; }
inline Vector subtract(Vector a, Vector b) { return a - b; }
inline Vector multiply(Vector a, Vector b) { return a * b; }
#ifdef __x86_64__
[[gnu::noinline]]  // it is many instructions there
#endif
inline Vector
multiply_add(Vector a, Vector b, Vector c) {
  return fused_multiply_add(a, b, c);
}
inline Vector clamp(Vector x, Vector low, Vector high) { return clamp_of(x, low, high); }

#endif

// Whole vectors go without a mask: masked stores are slow on AMD processors.
template <bool Masked>
inline Vector load_lanes(const float* from, Mask mask) {
  return Masked ? load(from, mask) : load(from);
}
template <bool Masked>
inline void store_lanes(float* to, Mask mask, Vector value) {
  Masked ? store(to, mask, value) : store(to, value);
}

}  // namespace
}  // namespace qgrad
