// Quantization loops, written once and compiled per instruction set.
#include "core/kernels/quantize/quantize.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "core/kernels/functions.h"
#include "core/kernels/lanes.h"

namespace qgrad {
namespace quantize_loops {
namespace {

inline float to_grid(float x, const QuantGrid& g) {
  return clamp_of(__builtin_nearbyintf(g.scale * clamp_of(x, g.low, g.high) - g.zero_point), g.qmin, g.qmax);
}

void quantize(const float* x, float* q, size_t n, const QuantGrid& grid) {
  const QuantGrid g = grid;
  for (size_t i = 0; i < n; ++i) q[i] = to_grid(x[i], g);
}

void dequantize(const float* q, float* x, size_t n, float scale, float zero_point) {
  for (size_t i = 0; i < n; ++i) x[i] = (q[i] + zero_point) / scale;
}

void fake_quant(const float* x, float* y, size_t n, const QuantGrid& grid) {
  const QuantGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = (to_grid(x[i], g) + g.zero_point) / g.scale;
}

#ifdef __AVX2__
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
#else
void fake_quant_streaming(const float* x, float* y, size_t n, const QuantGrid& grid) { fake_quant(x, y, n, grid); }
#endif

// Per channel: the channel is the vector lane; rows follow each other.
void quantize_channels(const float* x, float* q, size_t rows, size_t channels, const ChannelQuantGrid& grid) {
  const ChannelQuantGrid g = grid;
  for (size_t row = 0; row < rows; ++row, x += channels, q += channels) {
    QGRAD_INDEPENDENT
    for (size_t c = 0; c < channels; ++c)
      q[c] = clamp_of(__builtin_nearbyintf(g.scale[c] * x[c] - g.zero_point[c]), g.qmin, g.qmax);
  }
}

void dequantize_channels(const float* q, float* x, size_t rows, size_t channels, const float* scale,
                         const float* zero_point) {
  for (size_t row = 0; row < rows; ++row, x += channels, q += channels) {
    QGRAD_INDEPENDENT
    for (size_t c = 0; c < channels; ++c) x[c] = (q[c] + zero_point[c]) / scale[c];
  }
}

void fake_quant_channels(const float* x, float* y, size_t rows, size_t channels, const ChannelQuantGrid& grid) {
  const ChannelQuantGrid g = grid;
  for (size_t row = 0; row < rows; ++row, x += channels, y += channels) {
    QGRAD_INDEPENDENT
    for (size_t c = 0; c < channels; ++c) {
      const float scaled = g.scale[c] * x[c] - g.zero_point[c];
      y[c] = (clamp_of(__builtin_nearbyintf(scaled), g.qmin, g.qmax) + g.zero_point[c]) / g.scale[c];
    }
  }
}

void mask_outside(const float* x, const float* dy, float* dx, size_t n, float low, float high) {
  for (size_t i = 0; i < n; ++i) dx[i] = ((x[i] >= low) & (x[i] <= high)) ? dy[i] : 0.0f;
}

// kGroups groups of lanes at a time, so that they share the loads of levels and thresholds.
template <size_t kGroups>
void to_levels_in_groups(const float* x, float* y, const LevelGrid& g) {
  Lanes inside[kGroups], level[kGroups];
#pragma GCC unroll 4
  for (size_t u = 0; u < kGroups; ++u) {
    inside[u] = QGRAD_LOAD(x + u * kLanes) / g.clip;
    level[u] = Lanes{} + g.levels[0];
  }
  for (size_t k = 1; k < g.count; ++k) {
    const Lanes threshold = Lanes{} + g.thresholds[k - 1], above = Lanes{} + g.levels[k];
#pragma GCC unroll 4
    for (size_t u = 0; u < kGroups; ++u) level[u] = inside[u] > threshold ? above : level[u];
  }
#pragma GCC unroll 4
  for (size_t u = 0; u < kGroups; ++u) QGRAD_STORE(y + u * kLanes, g.clip * level[u]);
}

void to_levels(const float* x, float* y, size_t n, const LevelGrid& grid) {
  const LevelGrid g = grid;
  size_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) to_levels_in_groups<4>(x + i, y + i, g);
  for (; i + kLanes <= n; i += kLanes) to_levels_in_groups<1>(x + i, y + i, g);
  for (; i < n; ++i) {
    const float inside = x[i] / g.clip;
    float level = g.levels[0];
    for (size_t k = 1; k < g.count; ++k) level = inside > g.thresholds[k - 1] ? g.levels[k] : level;
    y[i] = g.clip * level;
  }
}

// Lanes are summed in float over kBlock elements, the blocks in double.
GridSums learned_backward(const float* x, const float* y, const float* dy, float* dx, size_t n, float low, float high) {
  constexpr size_t kBlock = 32 * kLanes;
  const Lanes zero = {};
  GridSums sums;
  size_t i = 0;
  while (i + kLanes <= n) {
    Lanes inside = {}, below = {}, above = {};
    const size_t rest = n - i, end = rest < kBlock ? n - rest % kLanes : i + kBlock;
    for (; i < end; i += kLanes) {
      const Lanes v = QGRAD_LOAD(x + i), g = QGRAD_LOAD(dy + i);
      const Lanes passed = v > low ? (v < high ? g : zero) : zero;
      inside += passed * (QGRAD_LOAD(y + i) - v);
      below += v <= low ? g : zero;
      above += v >= high ? g : zero;
      QGRAD_STORE(dx + i, passed);
    }
    for (size_t lane = 0; lane < kLanes; ++lane) {
      sums.inside += double{inside[lane]};
      sums.below += double{below[lane]};
      sums.above += double{above[lane]};
    }
  }
  for (; i < n; ++i) {
    const float g = dy[i], passed = ((x[i] > low) & (x[i] < high)) ? g : 0.0f;
    sums.inside += double{passed * (y[i] - x[i])};
    sums.below += x[i] <= low ? double{g} : 0.0;
    sums.above += x[i] >= high ? double{g} : 0.0;
    dx[i] = passed;
  }
  return sums;
}

void min_max(const float* x, size_t n, float* min, float* max) {
  float low = __builtin_inff(), high = -__builtin_inff();
  size_t i = 0;
  if (n >= kLanes) {
    constexpr int kSums = 4;  // independent chains hide the latency
    Lanes lows[kSums], highs[kSums];
    for (int k = 0; k < kSums; ++k) lows[k] = Lanes{} + low, highs[k] = Lanes{} + high;
    for (; i + kSums * kLanes <= n; i += kSums * kLanes)
#pragma GCC unroll 4
      for (int k = 0; k < kSums; ++k) {
        const Lanes v = QGRAD_LOAD(x + i + static_cast<size_t>(k) * kLanes);
        lows[k] = v < lows[k] ? v : lows[k];
        highs[k] = v > highs[k] ? v : highs[k];
      }
    for (; i + kLanes <= n; i += kLanes) {
      const Lanes v = QGRAD_LOAD(x + i);
      lows[0] = v < lows[0] ? v : lows[0];
      highs[0] = v > highs[0] ? v : highs[0];
    }
    for (int k = 0; k < kSums; ++k)
      for (size_t lane = 0; lane < kLanes; ++lane) {
        low = lows[k][lane] < low ? lows[k][lane] : low;
        high = highs[k][lane] > high ? highs[k][lane] : high;
      }
  }
  for (; i < n; ++i) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  *min = low + 0.0f;
  *max = high + 0.0f;
}

void min_max_channels(const float* x, size_t rows, size_t channels, float* min, float* max) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    Lanes low = Lanes{} + __builtin_inff(), high = -low;
    for (size_t row = 0; row < rows; ++row) {
      const Lanes v = QGRAD_LOAD(x + row * channels + c);
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
    QGRAD_STORE(min + c, low + 0.0f);
    QGRAD_STORE(max + c, high + 0.0f);
  }
  for (; c < channels; ++c) {
    float low = __builtin_inff(), high = -low;
    for (size_t row = 0; row < rows; ++row) {
      const float v = x[row * channels + c];
      low = v < low ? v : low;
      high = v > high ? v : high;
    }
    min[c] = low + 0.0f;
    max[c] = high + 0.0f;
  }
}

}  // namespace
}  // namespace quantize_loops

QuantizeKernels QGRAD_ROW(quantize)() {
  using namespace quantize_loops;
  return {.quantize = quantize,
          .quantize_channels = quantize_channels,
          .dequantize = dequantize,
          .dequantize_channels = dequantize_channels,
          .fake_quant = fake_quant,
          .fake_quant_streaming = fake_quant_streaming,
          .fake_quant_channels = fake_quant_channels,
          .mask_outside = mask_outside,
          .to_levels = to_levels,
          .learned_backward = learned_backward,
          .min_max = min_max,
          .min_max_channels = min_max_channels};
}

}  // namespace qgrad
