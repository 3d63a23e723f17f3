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

// 16 numbers as bytes of the grid that begins at qmin, in order.
inline __m128i to_bytes(__m256i first, __m256i second, __m256i qmin) {
  const __m256i words = _mm256_subs_epi16(_mm256_packs_epi32(first, second), qmin);
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
  return _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
}

// round(rescale * sum - zero_point) of eight channels; what is beyond 2^30 is on no grid.
inline __m256i rescaled(__m256i sum, const float* rescale, __m256 zero_point) {
  const __m256 scaled = _mm256_sub_ps(_mm256_mul_ps(_mm256_loadu_ps(rescale), _mm256_cvtepi32_ps(sum)), zero_point);
  return _mm256_cvtps_epi32(_mm256_min_ps(scaled, _mm256_set1_ps(0x1p30f)));
}

// in_fixed_point() of every other channel, whose sums, multipliers and shifts are in the low halves of 64 bits. There
// is no arithmetic shift of 64 bits: 2^62 is added for the time being. What is beyond 2^30 is on no grid.
inline __m256i in_fixed_point(__m256i sum, __m256i multiplier, __m256i shift, __m256i odd_zero_point) {
  const __m256i one = _mm256_set1_epi64x(1), lift = _mm256_set1_epi64x(int64_t{1} << 62);
  const __m256i product = _mm256_add_epi64(_mm256_mul_epi32(sum, multiplier), lift);
  const __m256i is_odd = _mm256_and_si256(_mm256_xor_si256(_mm256_srlv_epi64(product, shift), odd_zero_point), one);
  const __m256i half = _mm256_sub_epi64(_mm256_sllv_epi64(one, _mm256_sub_epi64(shift, one)), one);
  const __m256i rounded = _mm256_srlv_epi64(_mm256_add_epi64(product, _mm256_add_epi64(half, is_odd)), shift);
  const __m256i q = _mm256_sub_epi64(rounded, _mm256_srlv_epi64(lift, shift));
  const __m256i most = _mm256_set1_epi64x(1 << 30), least = _mm256_set1_epi64x(-(1 << 30));
  const __m256i lowered = _mm256_blendv_epi8(q, most, _mm256_cmpgt_epi64(q, most));
  return _mm256_blendv_epi8(lowered, least, _mm256_cmpgt_epi64(least, lowered));
}

// round(multiplier / 2^shift * sum - zero_point) of eight channels.
inline __m256i rescaled(__m256i sum, const int32_t* multiplier, const int32_t* shift, int32_t zero_point) {
  const __m256i m = load(multiplier), s = load(shift), low = _mm256_set1_epi64x(0xffffffff);
  const __m256i odd_zero_point = _mm256_set1_epi64x(zero_point & 1);
  const __m256i even = in_fixed_point(sum, m, _mm256_and_si256(s, low), odd_zero_point);
  const __m256i odd =
      in_fixed_point(_mm256_srli_epi64(sum, 32), _mm256_srli_epi64(m, 32), _mm256_srli_epi64(s, 32), odd_zero_point);
  const __m256i rounded = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  return _mm256_sub_epi32(rounded, _mm256_set1_epi32(zero_point));
}

inline __m128i bytes_of(const ByteTile& t, __m256i first, __m256i second) {
  const __m256i qmin = _mm256_set1_epi16(static_cast<int16_t>(t.qmin));
  if (t.multiplier) {
    const auto zero_point = static_cast<int32_t>(t.zero_point);
    return to_bytes(rescaled(first, t.multiplier, t.shift, zero_point),
                    rescaled(second, t.multiplier + 8, t.shift + 8, zero_point), qmin);
  }
  const __m256 zero_point = _mm256_set1_ps(t.zero_point);
  return to_bytes(rescaled(first, t.rescale, zero_point), rescaled(second, t.rescale + 8, zero_point), qmin);
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

// clamp(round(rescale * (x - origin)), -limit - 1, limit) of sixteen bytes, in 16 bits and in the order of packs.
struct AddOperand {
  __m256i origin, lowest, highest;
  __m256 rescale;
  __m256i operator()(const uint8_t* x) const {
    const __m256i first = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x)));
    const __m256i second = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(x + 8)));
    const __m256i rounded = _mm256_packs_epi32(eight(first), eight(second));
    return _mm256_min_epi16(_mm256_max_epi16(rounded, lowest), highest);
  }
  __m256i eight(__m256i x) const {
    return _mm256_cvtps_epi32(_mm256_mul_ps(rescale, _mm256_cvtepi32_ps(_mm256_sub_epi32(x, origin))));
  }
};

// Of two operands whose sum is only shifted and cut, within 16 bits: how nearly every residual connection is.
size_t byte_add(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, float limit, const ByteOutput& to) {
  constexpr float kMost = 16000;
  bool small = count == 2 && to.rescale == 1 && to.divisor == 1 && __builtin_fabsf(to.zero_point + to.qmin) < kMost &&
               to.zero_point == __builtin_nearbyintf(to.zero_point) && limit == __builtin_nearbyintf(limit);
  for (size_t k = 0; small && k < count; ++k) small = operands[k].rescale * 256 < kMost;
  if (!small) return 0;
  const auto words = [](float x) {
    return _mm256_set1_epi16(static_cast<int16_t>(x < -32768.0f ? -32768.0f : x > 32767.0f ? 32767.0f : x));
  };
  AddOperand of[2];
  for (size_t k = 0; k < 2; ++k)
    of[k] = {_mm256_set1_epi32(static_cast<int32_t>(operands[k].origin)), words(-limit - 1), words(limit),
             _mm256_set1_ps(operands[k].rescale)};
  const __m256i shift = words(to.zero_point + to.qmin);
  const auto byte = [](float x) { return _mm_set1_epi8(static_cast<char>(static_cast<uint8_t>(x))); };
  const __m128i low = byte(to.low - to.qmin), high = byte(to.high - to.qmin);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const __m256i sum = _mm256_add_epi16(of[0](operands[0].x + i), of[1](operands[1].x + i));
    const __m256i ordered = _mm256_permute4x64_epi64(_mm256_subs_epi16(sum, shift), 0xD8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm_min_epu8(_mm_max_epu8(bytes, low), high));
  }
  return i;
}

}  // namespace
}  // namespace qgrad

#define QGRAD_BYTE_ISA "avx2"
#define QGRAD_BYTE_KERNELS byte_avx2
#include "engine/kernels/byte.inl"
