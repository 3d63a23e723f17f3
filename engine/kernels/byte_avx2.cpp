// The integer engine's kernels for AVX2.
#include <immintrin.h>
#include <string.h>

#include "engine/kernels/byte_tile.h"

namespace qgrad {
namespace {

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }

inline __m256i four_of(const uint8_t* x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm256_set1_epi32(four);
}

// Sixteen ones, made anew: they do not get a register that lasts through a loop, where every one is taken.
inline __m256i new_ones() {
  __m256i all;
  asm volatile("vpcmpeqw %0, %0, %0" : "=x"(all));
  return _mm256_srli_epi16(all, 15);
}

// Computes x here and now, into the register it has: the compiler would rather compute all products first, for which
// there are not enough registers.
inline void settle(__m256i& x) { asm volatile("" : "+x"(x)); }

// round(rescale * sum) of eight channels; what is beyond 2^30 is on no grid.
inline __m256i rescaled(__m256i sum, const float* rescale) {
  const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(rescale), _mm256_cvtepi32_ps(sum));
  return _mm256_cvtps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(0x1p30f)));
}

inline __m128i bytes_of(const ByteTile& t, __m256i first, __m256i second) {
  const __m256i steps = _mm256_packs_epi32(rescaled(first, t.rescale), rescaled(second, t.rescale + 8));
  const __m256i words = _mm256_adds_epi16(steps, _mm256_set1_epi16(static_cast<int16_t>(t.origin)));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}

inline void store(const ByteTile& t, __m256i first, __m256i second, uint8_t* y) {
  if (t.fraction) {
    const __m128i shift = _mm_cvtsi32_si128(t.sum_shift);
    first = _mm256_add_epi32(_mm256_sll_epi32(first, shift), load(t.fraction));
    second = _mm256_add_epi32(_mm256_sll_epi32(second, shift), load(t.fraction + 8));
  }
  const __m128i bytes = bytes_of(t, first, second);
  const __m128i raised = _mm_max_epu8(bytes, _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.low)));
  const __m128i limited = _mm_min_epu8(raised, _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.high)));
  if (t.lanes == kBytePanel) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y), limited);
  } else {
    alignas(16) uint8_t whole[kBytePanel];
    _mm_store_si128(reinterpret_cast<__m128i*>(whole), limited);
    memcpy(y, whole, static_cast<size_t>(t.lanes));
  }
}

// Six sums of 32 bits, six of 16, two weights, an input and a product: all sixteen registers, which is why this is
// never inlined.
template <int P>
[[gnu::noinline]] void tile(const ByteTile& t) {
  __m256i sum[P][2];
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) sum[p][0] = load(t.bias), sum[p][1] = load(t.bias + 8);
  const uint8_t* x[P];
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) x[p] = t.x[p];
  const uint32_t* __restrict offset = t.panel.offset;
  const int8_t* __restrict narrow = t.panel.narrow;
  const ByteRun* const runs_end = t.panel.runs + t.panel.run_count;
  for (const ByteRun* run = t.panel.runs; run != runs_end; ++run)
    for (int32_t count = run->count; count > 0; --count) {
      __m256i part[P][2];
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) part[p][0] = part[p][1] = _mm256_setzero_si256();
      int32_t left = run->length;
      do {
        const __m256i w0 = load(narrow), w1 = load(narrow + 32);
#pragma GCC unroll 3
        for (int p = 0; p < P; ++p) {
          const __m256i value = four_of(x[p] + *offset);
          part[p][0] = _mm256_add_epi16(part[p][0], _mm256_maddubs_epi16(value, w0));
          part[p][1] = _mm256_add_epi16(part[p][1], _mm256_maddubs_epi16(value, w1));
          settle(part[p][0]), settle(part[p][1]);
        }
        ++offset;
        narrow += 64;
      } while (--left > 0);
      const __m256i ones = new_ones();
#pragma GCC unroll 3
      for (int p = 0; p < P; ++p) {
        sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(part[p][0], ones));
        sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(part[p][1], ones));
      }
    }
  const int16_t* __restrict wide = t.panel.wide;
  const __m256i low_half = _mm256_set1_epi16(0xff);
  for (int64_t left = t.panel.wide_steps; left > 0; --left) {
    const __m256i w0 = load(wide), w1 = load(wide + 16), w2 = load(wide + 32), w3 = load(wide + 48);
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) {
      const __m256i value = four_of(x[p] + *offset);
      const __m256i even = _mm256_and_si256(value, low_half), odd = _mm256_srli_epi16(value, 8);
      sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(even, w0));
      sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(even, w1));
      sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(odd, w2));
      sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(odd, w3));
    }
    ++offset;
    wide += 64;
  }
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) store(t, sum[p][0], sum[p][1], t.y[p]);
}

// Two taps of sixteen channels at a time.
template <int P>
[[gnu::noinline]] void depthwise(const ByteTile& t) {
  __m256i sum[P][2];
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) sum[p][0] = load(t.bias), sum[p][1] = load(t.bias + 8);
  const uint32_t* __restrict offset = t.panel.offset;
  const int16_t* __restrict weight = t.panel.wide;
  for (int64_t left = t.panel.wide_steps; left > 0; --left) {
    const __m256i w0 = load(weight), w1 = load(weight + 16);
#pragma GCC unroll 3
    for (int p = 0; p < P; ++p) {
      const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.x[p] + offset[0]));
      const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(t.x[p] + offset[1]));
      const __m256i first = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
      const __m256i second = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
      sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(first, w0));
      sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(second, w1));
    }
    offset += 2;
    weight += 32;
  }
#pragma GCC unroll 3
  for (int p = 0; p < P; ++p) store(t, sum[p][0], sum[p][1], t.y[p]);
}

void (*const tiles[kByteTile])(const ByteTile&) = {tile<1>, tile<2>, tile<3>};
void (*const depthwise_tiles[kByteTile])(const ByteTile&) = {depthwise<1>, depthwise<2>, depthwise<3>};

void byte_tile(const ByteTile& t) { tiles[t.positions - 1](t); }
void depthwise_tile(const ByteTile& t) { depthwise_tiles[t.positions - 1](t); }

}  // namespace
}  // namespace qgrad

#define QGRAD_BYTE_ISA "avx2"
#define QGRAD_BYTE_KERNELS byte_avx2
#include "engine/kernels/byte.inl"
