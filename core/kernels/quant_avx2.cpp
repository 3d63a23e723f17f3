// Quantization kernels for AVX2.
#include "core/kernels/quant_kernels.h"

#include <immintrin.h>
#include <stdint.h>

#include "core/kernels/quant.inl"

namespace qgrad {
namespace {

void fake_quant_streaming(const float* x, float* y, size_t n, const QuantGrid& grid) {
  const size_t misaligned = (reinterpret_cast<uintptr_t>(y) / sizeof(float)) % kLanes;
  const size_t head = misaligned ? kLanes - misaligned : 0;
  if (n < head + kLanes) return fake_quant(x, y, n, grid);
  fake_quant(x, y, head, grid);
  const __m256 scale = _mm256_set1_ps(grid.scale), zero_point = _mm256_set1_ps(grid.zero_point);
  const __m256 low = _mm256_set1_ps(grid.low), high = _mm256_set1_ps(grid.high);
  const __m256 qmin = _mm256_set1_ps(grid.qmin), qmax = _mm256_set1_ps(grid.qmax);
  size_t i = head;
  for (; i + kLanes <= n; i += kLanes) {
    // min and max return their second operand when one is a NaN, as the comparisons of clamped() do.
    const __m256 inside = _mm256_min_ps(high, _mm256_max_ps(low, _mm256_loadu_ps(x + i)));
    const __m256 scaled = _mm256_sub_ps(_mm256_mul_ps(scale, inside), zero_point);
    const __m256 rounded = _mm256_round_ps(scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m256 integer = _mm256_min_ps(qmax, _mm256_max_ps(qmin, rounded));
    _mm256_stream_ps(y + i, _mm256_div_ps(_mm256_add_ps(integer, zero_point), scale));
  }
  _mm_sfence();  // streamed stores become visible before whatever tells another thread that they are done
  fake_quant(x + i, y + i, n - i, grid);
}

}  // namespace

QuantKernels quant_avx2() {
  QuantKernels kernels = table();
  kernels.fake_quant_streaming = fake_quant_streaming;
  return kernels;
}

}  // namespace qgrad
