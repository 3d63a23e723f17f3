// The integer engine's kernels for AVX2. vpmaddwd adds pairs of 16-bit products in 32 bits, so no operand of 9 bits or
// less can overflow it.
#include <immintrin.h>
#include <string.h>

#include "core/kernels/byte_tile.h"

namespace qgrad {
namespace {

inline __m256i pair_of(const int16_t* x) {
  int32_t both;
  memcpy(&both, x, sizeof both);
  return _mm256_set1_epi32(both);
}

// Eight channels' sums on the output's grid.
inline __m256i requantized(__m256i sum, const ByteTile& t, int first) {
  const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(t.rescale + first), _mm256_cvtepi32_ps(sum));
  const __m256 rounded = _mm256_round_ps(_mm256_sub_ps(scaled, _mm256_set1_ps(t.zero_point)),
                                         _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 raised = _mm256_max_ps(rounded, _mm256_loadu_ps(t.low + first));
  const __m256 q = _mm256_min_ps(raised, _mm256_loadu_ps(t.high + first));
  return _mm256_cvtps_epi32(_mm256_sub_ps(q, _mm256_set1_ps(t.qmin)));
}

// Twelve accumulators, two weights, one input and one product: all sixteen registers, which is why this is never
// inlined.
template <int P>
[[gnu::noinline]] void tile(const ByteTile& t) {
  __m256i sum[P][2];
#pragma GCC unroll 6
  for (int p = 0; p < P; ++p) {
    sum[p][0] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.bias));
    sum[p][1] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t.bias + 8));
  }
  const int16_t* __restrict weight = t.weight;
  const int64_t pairs = t.pairs;
  for (int64_t outer = 0; outer < t.outer; ++outer)
    for (int64_t inner = 0; inner < t.inner; ++inner) {
      const int64_t offset = outer * t.outer_step + inner * t.inner_step;
      const int16_t* __restrict x[P];
#pragma GCC unroll 6
      for (int p = 0; p < P; ++p) x[p] = t.x[p] + offset;
      for (int64_t k = 0; k < pairs; ++k) {
        const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight));
        const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 16));
        weight += 32;
#pragma GCC unroll 6
        for (int p = 0; p < P; ++p) {
          const __m256i value = pair_of(x[p] + 2 * k);
          sum[p][0] = _mm256_add_epi32(sum[p][0], _mm256_madd_epi16(value, w0));
          sum[p][1] = _mm256_add_epi32(sum[p][1], _mm256_madd_epi16(value, w1));
        }
      }
    }
#pragma GCC unroll 6
  for (int p = 0; p < P; ++p) {
    const __m256i words = _mm256_packs_epi32(requantized(sum[p][0], t, 0), requantized(sum[p][1], t, 8));
    const __m256i ordered = _mm256_permute4x64_epi64(words, 0xD8);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
    if (t.lanes == kBytePanel) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(t.y[p]), bytes);
    } else {
      alignas(16) uint8_t whole[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(whole), bytes);
      memcpy(t.y[p], whole, static_cast<size_t>(t.lanes));
    }
  }
}

void (*const tiles[kByteTile])(const ByteTile&) = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>};

void byte_tile(const ByteTile& t) { tiles[t.positions - 1](t); }

}  // namespace
}  // namespace qgrad

#define QGRAD_BYTE_ISA "avx2"
#define QGRAD_BYTE_KERNELS byte_avx2
#include "core/kernels/byte.inl"
