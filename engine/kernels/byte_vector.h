// One register of integers, as wide as the including file may use: what byte tiles are written over. Eight lanes of 32
// bits with AVX2, sixteen with AVX-512. Included by files for one instruction set only.
#pragma once

#include <immintrin.h>
#include <string.h>

#include "engine/kernels/byte_kernels.h"

namespace qgrad {
namespace {

inline int32_t four_bytes(const uint8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return four;
}

#ifdef __AVX512BW__

typedef __m512i Integers;
constexpr int kIntegerLanes = 16;

inline Integers load(const void* from) { return _mm512_loadu_si512(from); }
inline Integers four_of(const uint8_t* x) { return _mm512_set1_epi32(four_bytes(x)); }
inline Integers no_sums() { return _mm512_setzero_si512(); }
inline Integers ones() { return _mm512_set1_epi16(1); }
inline Integers low_bytes_of_words() { return _mm512_set1_epi16(0xff); }
inline Integers both(Integers a, Integers b) { return _mm512_and_si512(a, b); }
inline Integers odd_bytes(Integers x) { return _mm512_srli_epi16(x, 8); }
inline Integers add_32(Integers a, Integers b) { return _mm512_add_epi32(a, b); }
inline Integers byte_pairs(Integers x, Integers w) { return _mm512_maddubs_epi16(x, w); }
inline Integers pairs(Integers x, Integers w) { return _mm512_madd_epi16(x, w); }
inline Integers shifted(Integers x, int32_t by) { return _mm512_sll_epi32(x, _mm_cvtsi32_si128(by)); }
inline Integers from_bytes(__m256i x) { return _mm512_cvtepu8_epi16(x); }

// round(rescale * sum); what is beyond 2^30, where there may be such, is on no grid.
template <bool kLarge>
inline Integers rescaled(Integers sum, const float* rescale) {
  const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(rescale), _mm512_cvtepi32_ps(sum));
  return _mm512_cvtps_epi32(kLarge ? _mm512_min_ps(scaled, _mm512_set1_ps(0x1p30f)) : scaled);
}
// rescale * sum + bias
inline __m512 real_of(Integers sum, const float* rescale, const float* bias) {
  return _mm512_add_ps(_mm512_mul_ps(_mm512_loadu_ps(rescale), _mm512_cvtepi32_ps(sum)), _mm512_loadu_ps(bias));
}
inline __m256i words_of(const Integers* steps) { return _mm512_cvtsepi32_epi16(steps[0]); }

// As many floats, and those that bytes are.
typedef __m512 Floats;
inline Floats load_floats(const float* x) { return _mm512_loadu_ps(x); }
inline void store(float* y, Floats x) { _mm512_storeu_ps(y, x); }
inline Floats floats_of(const uint8_t* x) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x))));
}
inline Floats clamped(Floats x, float low, float high) {  // a NaN stays one
  return _mm512_min_ps(_mm512_set1_ps(high), _mm512_max_ps(_mm512_set1_ps(low), x));
}
// A NaN becomes low.
inline Integers rounded_within(Floats x, float low, float high) {
  return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(low)), _mm512_set1_ps(high)));
}
// The lowest bytes of so many vectors, and more to each.
constexpr int kByteVectors = 1;
inline void store_bytes(uint8_t* y, const Integers* x, int32_t more) {
  const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(x[0], _mm512_set1_epi32(more)));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(y), bytes);
}

// Within each 16 bytes.
inline Integers low_bytes(Integers a, Integers b) { return _mm512_unpacklo_epi8(a, b); }
inline Integers high_bytes(Integers a, Integers b) { return _mm512_unpackhi_epi8(a, b); }
inline Integers low_words(Integers a, Integers b) { return _mm512_unpacklo_epi16(a, b); }
inline Integers high_words(Integers a, Integers b) { return _mm512_unpackhi_epi16(a, b); }
inline Integers to_words(Integers a, Integers b) { return _mm512_packs_epi32(a, b); }
inline Integers to_bytes(Integers a, Integers b) { return _mm512_packus_epi16(a, b); }
inline Integers add_words(Integers a, Integers b) { return _mm512_adds_epi16(a, b); }
inline Integers word(int16_t x) { return _mm512_set1_epi16(x); }
inline Integers least_bytes(Integers a, Integers b) { return _mm512_min_epu8(a, b); }
inline Integers most_bytes(Integers a, Integers b) { return _mm512_max_epu8(a, b); }
inline void store_first(uint8_t* y, Integers bytes, int64_t count) {
  _mm512_mask_storeu_epi8(y, count < 64 ? (uint64_t{1} << count) - 1 : ~uint64_t{0}, bytes);
}

#else

typedef __m256i Integers;
constexpr int kIntegerLanes = 8;

inline Integers load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline Integers four_of(const uint8_t* x) { return _mm256_set1_epi32(four_bytes(x)); }
inline Integers no_sums() { return _mm256_setzero_si256(); }
// What is made anew does not get a register that lasts through a loop, where every one is taken.
inline Integers all_bits() {
  Integers all;
  asm volatile("vpcmpeqw %0, %0, %0" : "=x"(all));
  return all;
}
inline __m256 made_anew(const float& x) {
  __m256 all;
  asm volatile("vbroadcastss %1, %0" : "=x"(all) : "m"(x));
  return all;
}
inline Integers ones() { return _mm256_srli_epi16(all_bits(), 15); }
inline Integers low_bytes_of_words() { return _mm256_srli_epi16(all_bits(), 8); }
inline Integers both(Integers a, Integers b) { return _mm256_and_si256(a, b); }
inline Integers odd_bytes(Integers x) { return _mm256_srli_epi16(x, 8); }
inline Integers add_32(Integers a, Integers b) { return _mm256_add_epi32(a, b); }
inline Integers byte_pairs(Integers x, Integers w) { return _mm256_maddubs_epi16(x, w); }
inline Integers pairs(Integers x, Integers w) { return _mm256_madd_epi16(x, w); }
inline Integers shifted(Integers x, int32_t by) { return _mm256_sll_epi32(x, _mm_cvtsi32_si128(by)); }
inline Integers from_bytes(__m128i x) { return _mm256_cvtepu8_epi16(x); }

template <bool kLarge>
inline Integers rescaled(Integers sum, const float* rescale) {
  const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(rescale), _mm256_cvtepi32_ps(sum));
  return _mm256_cvtps_epi32(kLarge ? _mm256_min_ps(scaled, made_anew(0x1p30f)) : scaled);
}
inline __m256 real_of(Integers sum, const float* rescale, const float* bias) {
  return _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(rescale), _mm256_cvtepi32_ps(sum)), _mm256_loadu_ps(bias));
}
inline __m256i words_of(const Integers* steps) {
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(steps[0], steps[1]), 0xD8);
}

typedef __m256 Floats;
inline Floats load_floats(const float* x) { return _mm256_loadu_ps(x); }
inline void store(float* y, Floats x) { _mm256_storeu_ps(y, x); }
inline Floats floats_of(const uint8_t* x) {
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x))));
}
inline Floats clamped(Floats x, float low, float high) {
  return _mm256_min_ps(_mm256_set1_ps(high), _mm256_max_ps(_mm256_set1_ps(low), x));
}
inline Integers rounded_within(Floats x, float low, float high) {
  return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(low)), _mm256_set1_ps(high)));
}
constexpr int kByteVectors = 4;
inline void store_bytes(uint8_t* y, const Integers* x, int32_t more) {
  const Integers to = _mm256_set1_epi16(static_cast<int16_t>(more));
  const Integers apart = _mm256_packus_epi16(_mm256_add_epi16(_mm256_packs_epi32(x[0], x[1]), to),
                                             _mm256_add_epi16(_mm256_packs_epi32(x[2], x[3]), to));
  const Integers bytes = _mm256_permutevar8x32_epi32(apart, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
}

inline Integers low_bytes(Integers a, Integers b) { return _mm256_unpacklo_epi8(a, b); }
inline Integers high_bytes(Integers a, Integers b) { return _mm256_unpackhi_epi8(a, b); }
inline Integers low_words(Integers a, Integers b) { return _mm256_unpacklo_epi16(a, b); }
inline Integers high_words(Integers a, Integers b) { return _mm256_unpackhi_epi16(a, b); }
inline Integers to_words(Integers a, Integers b) { return _mm256_packs_epi32(a, b); }
inline Integers to_bytes(Integers a, Integers b) { return _mm256_packus_epi16(a, b); }
inline Integers add_words(Integers a, Integers b) { return _mm256_adds_epi16(a, b); }
inline Integers word(int16_t x) { return _mm256_set1_epi16(x); }
inline Integers least_bytes(Integers a, Integers b) { return _mm256_min_epu8(a, b); }
inline Integers most_bytes(Integers a, Integers b) { return _mm256_max_epu8(a, b); }
inline void store_first(uint8_t* y, Integers bytes, int64_t count) {
  alignas(32) uint8_t whole[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(whole), bytes);
  count < 32 ? memcpy(y, whole, static_cast<size_t>(count)) : memcpy(y, whole, 32);
}

#endif

// Four taps: of each 16 bytes, the first four channels' in x[0], the next four's in x[1].
inline void interleave(Integers a, Integers b, Integers c, Integers d, Integers* x) {
  const Integers ab = low_bytes(a, b), cd = low_bytes(c, d), ab_high = high_bytes(a, b), cd_high = high_bytes(c, d);
  x[0] = low_words(ab, cd), x[1] = high_words(ab, cd);
  x[2] = low_words(ab_high, cd_high), x[3] = high_words(ab_high, cd_high);
}
// The way back, of steps.
inline Integers bytes_of(const Integers* steps, int16_t origin) {
  const Integers to = word(origin);
  return to_bytes(add_words(to_words(steps[0], steps[1]), to), add_words(to_words(steps[2], steps[3]), to));
}

inline void store(int32_t* to, Integers x) { memcpy(to, &x, sizeof x); }

// Vectors that a panel's sums take.
constexpr int kPanelVectors = kBytePanel / kIntegerLanes;

// sum + the products of four bytes and four weights.
#if defined(__AVX512VNNI__)
inline Integers add_fours(Integers sum, Integers x, Integers w) { return _mm512_dpbusd_epi32(sum, x, w); }
#elif defined(__AVXVNNI__)
inline Integers add_fours(Integers sum, Integers x, Integers w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
#endif

}  // namespace
}  // namespace qgrad
