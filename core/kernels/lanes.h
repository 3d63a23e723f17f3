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
typedef double DoubleLanes __attribute__((vector_size(64)));
// The same eight floats where they lie in memory: at any address, and aliasing float.
typedef float UnalignedLanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef double UnalignedDoubleLanes __attribute__((vector_size(64), aligned(8), may_alias));

#define QGRAD_LOAD(pointer) (Lanes)(*(const UnalignedLanes*)(pointer))
#define QGRAD_STORE(pointer, lanes) (*(UnalignedLanes*)(pointer) = (lanes))
#define QGRAD_TO_DOUBLE(lanes) __builtin_convertvector((lanes), DoubleLanes)

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
