// Eight floats handled as one value, for loops that are written once and compiled per instruction set. The compiler
// lowers them to whatever the including file may use: one AVX register, two SSE registers, or eight scalars. The order
// of every sum is spelled out in lanes, so results have the same bits everywhere.
#pragma once

#ifdef __AVX512VL__
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>

// Before a loop whose rows do not overlap.
#ifdef __clang__
#define QGRAD_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define QGRAD_INDEPENDENT _Pragma("GCC ivdep")
#endif

namespace qgrad {
namespace {

constexpr size_t kLanes = 8;
typedef float Lanes __attribute__((vector_size(32)));
// The same eight floats where they lie in memory: at any address, and aliasing float.
typedef float UnalignedLanes __attribute__((vector_size(32), aligned(4), may_alias));

#define QGRAD_LOAD(pointer) (Lanes)(*(const UnalignedLanes*)(pointer))
#define QGRAD_STORE(pointer, lanes) (*(UnalignedLanes*)(pointer) = (lanes))

// Eight doubles: one register of AVX-512, else two halves, since GCC takes a vector that is wider than AVX2's registers
// apart into numbers to convert it.
#ifdef __AVX512F__
constexpr size_t kDoubles = 8;
#else
constexpr size_t kDoubles = 4;
#endif
struct DoubleLanes {
  typedef float Floats __attribute__((vector_size(4 * kDoubles), aligned(4), may_alias));
  typedef double Doubles __attribute__((vector_size(8 * kDoubles)));
  typedef double Unaligned __attribute__((vector_size(8 * kDoubles), aligned(8), may_alias));
  static constexpr size_t kParts = kLanes / kDoubles;
  Doubles part[kParts];

  // clang-format off
  DoubleLanes& operator+=(const DoubleLanes& b) { for (size_t i = 0; i < kParts; ++i) part[i] += b.part[i]; return *this; }
  DoubleLanes& operator-=(const DoubleLanes& b) { for (size_t i = 0; i < kParts; ++i) part[i] -= b.part[i]; return *this; }
  DoubleLanes& operator*=(const DoubleLanes& b) { for (size_t i = 0; i < kParts; ++i) part[i] *= b.part[i]; return *this; }
  // clang-format on
  double operator[](size_t lane) const { return part[lane / kDoubles][lane % kDoubles]; }
};
inline DoubleLanes doubles_at(const float* x) {
  DoubleLanes lanes;
  for (size_t i = 0; i < DoubleLanes::kParts; ++i)
    lanes.part[i] = __builtin_convertvector(*(const DoubleLanes::Floats*)(x + i * kDoubles), DoubleLanes::Doubles);
  return lanes;
}
inline DoubleLanes doubles_at(const double* x) {
  DoubleLanes lanes;
  for (size_t i = 0; i < DoubleLanes::kParts; ++i) lanes.part[i] = *(const DoubleLanes::Unaligned*)(x + i * kDoubles);
  return lanes;
}
inline DoubleLanes doubles_of(const Lanes& x) {
  float numbers[kLanes];
  QGRAD_STORE(numbers, x);
  return doubles_at(numbers);
}
inline void store_doubles(double* to, const DoubleLanes& lanes) {
  for (size_t i = 0; i < DoubleLanes::kParts; ++i) *(DoubleLanes::Unaligned*)(to + i * kDoubles) = lanes.part[i];
}

typedef int32_t IntLanes __attribute__((vector_size(32)));

// Bit i of a byte for lane i of a comparison.
inline uint8_t mask_of(const IntLanes& lanes) {
#if defined(__AVX512VL__)
  return _mm256_movepi32_mask((__m256i)lanes);
#elif defined(__AVX2__)
  return static_cast<uint8_t>(__builtin_ia32_movmskps256((Lanes)lanes));
#else
  unsigned bits = 0;
  for (unsigned i = 0; i < kLanes; ++i) bits |= lanes[i] ? 1u << i : 0u;
  return static_cast<uint8_t>(bits);
#endif
}

// Lanes whose bits are not set become zero.
inline void keep_where(uint8_t bits, Lanes& lanes) {
#ifdef __AVX512VL__
  lanes = (Lanes)_mm256_maskz_mov_ps(bits, (__m256)lanes);
#else
  const IntLanes bit = {1, 2, 4, 8, 16, 32, 64, 128};
  lanes = (Lanes)((IntLanes)lanes & (((IntLanes{} + bits) & bit) != 0));
#endif
}

}  // namespace
}  // namespace qgrad
