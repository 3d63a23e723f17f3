// The integer engine's tiles, written over vectors of bytes and compiled per instruction set.
#include "engine/kernels/byte_tile.h"
#include "engine/kernels/byte_vector.h"

namespace qgrad {
namespace {

inline __m128i load_bytes(const uint8_t* from) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)); }

// One vector of sums, whose first channel is `at`, and the steps or the floats that they become.
inline Integers with_fraction(const ByteEnding& to, Integers sum, int64_t at) {
  return to.fraction ? add_32(shifted(sum, to.sum_shift), load(to.fraction + at)) : sum;
}
template <bool kLarge>
inline Integers steps_of(const ByteEnding& to, Integers sum, int64_t at) {
  return rescaled<kLarge>(with_fraction(to, sum, at), to.rescale + at);
}
inline Floats floats_of(const ByteEnding& to, Integers sum, int64_t at) {
  return real_of(with_fraction(to, sum, at), to.rescale + at, to.real_bias + at);
}

// One panel of a position, from its sums to bytes. first: its first channel.
template <bool kLarge>
inline void store(const ByteEnding& to, const Integers* sums, int64_t first, uint8_t* y) {
  Integers steps[kPanelVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kPanelVectors; ++v) steps[v] = steps_of<kLarge>(to, sums[v], first + v * kIntegerLanes);
  const __m256i words = _mm256_adds_epi16(words_of(steps), _mm256_set1_epi16(static_cast<int16_t>(to.origin)));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  const __m128i limited = _mm_min_epu8(_mm_max_epu8(bytes, load_bytes(to.low + first)), load_bytes(to.high + first));
  if (to.lanes - first >= kBytePanel) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + first), limited);
  } else {
    alignas(16) uint8_t whole[kBytePanel];
    _mm_store_si128(reinterpret_cast<__m128i*>(whole), limited);
    memcpy(y + first, whole, static_cast<size_t>(to.lanes - first));
  }
}

// The same to floats.
inline void store(const ByteEnding& to, const Integers* sums, int64_t first, float* y) {
  float all[kBytePanel];
  const int64_t lanes = to.lanes - first;
  float* const floats = lanes >= kBytePanel ? y + first : all;
  for (int v = 0; v < kPanelVectors; ++v)
    store(floats + v * kIntegerLanes, floats_of(to, sums[v], first + v * kIntegerLanes));
  if (lanes < kBytePanel) memcpy(y + first, all, static_cast<size_t>(lanes) * sizeof(float));
}

template <int P>
inline void positions_of(const ByteTile& t, int64_t block, const uint8_t* (&x)[P]) {
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) x[p] = t.x[p] + block * t.x_block;
}

// Of P positions and V vectors.
template <int P, int V>
inline void begin(const ByteTile& t, Integers (&sum)[P][V]) {
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[p][v] = load(t.bias + v * kIntegerLanes);
}

// Of floats and of large steps, apart from what most layers do, so that it costs these no register. sums: of each
// position, one after the other.
[[gnu::noinline]] void finish_others(const ByteTile& t, int64_t block, const Integers* sums, int vectors) {
  const int64_t offset = block * t.y_block;
  const ByteEnding to = t.ending;
#pragma GCC unroll 1
  for (int64_t p = 0; p < t.positions; ++p)
#pragma GCC unroll 1
    for (int v = 0; v < vectors; v += kPanelVectors, sums += kPanelVectors)
      if (uint8_t* y = t.y[p] + offset; to.real_bias)
        store(to, sums, v * kIntegerLanes, reinterpret_cast<float*>(y));
      else
        store<true>(to, sums, v * kIntegerLanes, y);
}

// The ending is a copy, since a byte that is stored may be anything else. Many sums go through memory, where a loop can
// index them: unrolled, they would want registers for what stores need while the sums have most of them.
template <int P, int V>
inline void finish(const ByteTile& t, int64_t block, const Integers (&sum)[P][V]) {
  const int64_t offset = block * t.y_block;
  ByteEnding to = t.ending;
  const bool usual = !to.real_bias && !to.large_steps;
  if (P * V <= 6 && usual) {
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < V; v += kPanelVectors) store<false>(to, sum[p] + v, v * kIntegerLanes, t.y[p] + offset);
    return;
  }
  Integers all[P][V];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) all[p][v] = sum[p][v];
  if (!usual) return finish_others(t, block, all[0], V);
#pragma GCC unroll 1
  for (int p = 0; p < P; ++p) {
    asm volatile("" : "+m"(to.fraction));  // or there would be a loop with fractions and one without
#pragma GCC unroll 2
    for (int v = 0; v < V; v += kPanelVectors) store<false>(to, all[p] + v, v * kIntegerLanes, t.y[p] + offset);
  }
}

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)

constexpr ByteArithmetic kByteArithmetic{ByteSums::of_32_bits, sizeof(Integers)};
constexpr int64_t kTilePanels = kPanelVectors == 1 ? 2 : 1, kTilePositions[] = {kPanelVectors == 1 ? 9 : 6, 6};

template <int P, int V>
[[gnu::noinline]] void tile(const ByteTile& t) {
  for (int64_t block = 0; block < t.blocks; ++block) {
    const uint8_t* x[P];
    positions_of(t, block, x);
    Integers sum[P][V];
    begin(t, sum);
    const uint32_t* __restrict offset = t.panel->offset;
    const int8_t* __restrict narrow = t.panel->narrow;
    // The second vector's weights are those of the same panel, or of the next.
    const int64_t vector_step = V > kPanelVectors ? t.panel[1].narrow - narrow : 4 * kIntegerLanes;
    for (int64_t left = t.panel->narrow_steps; left > 0; --left) {
      Integers w[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) w[v] = load(narrow + v * vector_step);
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const Integers value = four_of(x[p] + *offset);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[p][v] = add_fours(sum[p][v], value, w[v]);
      }
      ++offset;
      narrow += 4 * kBytePanel;
    }
    finish(t, block, sum);
  }
}

constexpr int kDepthwisePositions = kIntegerLanes == 16 ? 3 : 1;

// A wide panel of one position, to floats and to bytes.
[[gnu::noinline]] void store_wide(const ByteEnding& to, const Integers* sums, float* y) {
  float all[4 * kIntegerLanes];
  for (int v = 0; v < 4; ++v) store(all + v * kIntegerLanes, floats_of(to, sums[v], v * kIntegerLanes));
  for (int64_t c = 0; c < to.lanes && c < 4 * kIntegerLanes; ++c) {
    asm volatile("");  // is not to be vectorized
    y[c] = all[lane_of(c, 4 * kIntegerLanes)];
  }
}
inline void store_wide(const ByteEnding& to, const Integers* sums, uint8_t* y) {
  if (to.real_bias) return store_wide(to, sums, reinterpret_cast<float*>(y));
  Integers steps[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) steps[v] = steps_of<true>(to, sums[v], v * kIntegerLanes);
  const Integers bytes = bytes_of(steps, static_cast<int16_t>(to.origin));
  store_first(y, least_bytes(most_bytes(bytes, load(to.low)), load(to.high)), to.lanes);
}

// Four taps of as many channels as a register has bytes at a time.
template <int P>
[[gnu::noinline]] void depthwise(const ByteTile& t) {
  for (int64_t block = 0; block < t.blocks; ++block) {
    const uint8_t* x[P];
    positions_of(t, block, x);
    Integers sum[P][4];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sum[p][v] = load(t.bias + v * kIntegerLanes);
    const uint32_t* __restrict offset = t.panel->offset;
    const int8_t* __restrict weight = t.panel->narrow;
    for (int64_t left = t.panel->narrow_steps; left > 0; --left) {
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        Integers taps[4];
        interleave(load(x[p] + offset[0]), load(x[p] + offset[1]), load(x[p] + offset[2]), load(x[p] + offset[3]),
                   taps);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) sum[p][v] = add_fours(sum[p][v], taps[v], load(weight + 4 * v * kIntegerLanes));
      }
      offset += 4;
      weight += 16 * kIntegerLanes;
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) store_wide(t.ending, sum[p], t.y[p] + block * t.y_block);
  }
}

#else

constexpr ByteArithmetic kByteArithmetic{ByteSums::of_16_bits, kBytePanel};
constexpr int64_t kTilePanels = 1, kTilePositions[] = {kPanelVectors == 1 ? 6 : 3};

// Here and now, in the register that the sum has: the compiler would rather compute all products first, for which there
// are not enough registers.
inline void settle(Integers& sum, Integers x) {
  sum = x;
  asm volatile("" : "+v"(sum));
}
inline void add_16_to(Integers& sum, Integers x) { asm volatile("vpaddw %1, %0, %0" : "+v"(sum) : "v"(x)); }

// Sums of 16 bits become, or get, the products of one step.
template <int P, int V, bool First>
[[gnu::always_inline]] inline void step(const uint8_t* const (&x)[P], uint32_t offset, const int8_t* __restrict narrow,
                                        Integers (&part)[P][V]) {
  Integers w[V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) w[v] = load(narrow + 4 * v * kIntegerLanes);
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p) {
    const Integers value = four_of(x[p] + offset);
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      const Integers products = byte_pairs(value, w[v]);
      First ? settle(part[p][v], products) : add_16_to(part[p][v], products);
    }
  }
}

// Runs of one length, which is known here where it is short, as it mostly is with eight bits.
constexpr int kAnyLength = 0;
template <int Length, int P, int V>
[[gnu::always_inline]] inline void add_runs(const ByteRun& runs, const uint8_t* const (&x)[P], const uint32_t*& offset,
                                            const int8_t*& narrow, Integers (&sum)[P][V]) {
  for (int32_t count = runs.count; count > 0; --count) {
    Integers part[P][V];
    step<P, V, true>(x, *offset, narrow, part);
    const auto more = [&](int first, int steps) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int i = first; i < first + steps; ++i) step<P, V, false>(x, offset[i], narrow + i * 4 * kBytePanel, part);
    };
    const auto move = [&](int steps) { offset += steps, narrow += steps * 4 * kBytePanel; };
    if constexpr (Length == kAnyLength) {
      constexpr int kAtOnce = P == kTilePositions[0] ? 4 : 1;
      int32_t left = runs.length - 1;
      move(1);
      for (; left % kAtOnce > 0; --left) more(0, 1), move(1);
      for (; left > 0; left -= kAtOnce) more(0, kAtOnce), move(kAtOnce);
    } else {
      more(1, Length - 1), move(Length);
    }
    const Integers one = ones();
#pragma GCC unroll 16
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) sum[p][v] = add_32(sum[p][v], pairs(part[p][v], one));
  }
}

template <int Length, int P, int V>
[[gnu::always_inline]] inline void add_runs_of(const ByteRun& runs, const uint8_t* const (&x)[P],
                                               const uint32_t*& offset, const int8_t*& narrow, Integers (&sum)[P][V]) {
  if constexpr (Length != kAnyLength)
    if (runs.length != Length) return add_runs_of<Length - 1>(runs, x, offset, narrow, sum);
  add_runs<Length>(runs, x, offset, narrow, sum);
}

// With AVX2 six sums of 32 bits, six of 16, two weights, an input and a product: all sixteen registers, which is why
// this is never inlined.
template <int P, int V>
[[gnu::noinline]] void tile(const ByteTile& t) {
  // Seldom are there fewer positions, and few processors have AVX-512 without VNNI.
  constexpr int kLongest = kPanelVectors > 1 && P == kTilePositions[0] ? 5 : kAnyLength;
  for (int64_t block = 0; block < t.blocks; ++block) {
    const uint8_t* x[P];
    positions_of(t, block, x);
    Integers sum[P][V];
    begin(t, sum);
    const uint32_t* offset = t.panel->offset;
    const int8_t* narrow = t.panel->narrow;
    const ByteRun* const runs_end = t.panel->runs + t.panel->run_count;
    for (const ByteRun* run = t.panel->runs; run != runs_end; ++run)
      add_runs_of<kLongest>(*run, x, offset, narrow, sum);
    const int16_t* __restrict wide = t.panel->wide;
    const Integers low_bytes = low_bytes_of_words();
    for (int64_t left = t.panel->wide_steps; left > 0; --left) {
      Integers even[V], odd[V];
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) {
        even[v] = load(wide + 2 * v * kIntegerLanes);
        odd[v] = load(wide + 2 * kBytePanel + 2 * v * kIntegerLanes);
      }
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        const Integers value = four_of(x[p] + *offset);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[p][v] = add_32(sum[p][v], pairs(both(value, low_bytes), even[v]));
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[p][v] = add_32(sum[p][v], pairs(odd_bytes(value), odd[v]));
      }
      ++offset;
      wide += 4 * kBytePanel;
    }
    finish(t, block, sum);
  }
}

constexpr int kDepthwisePositions = 3;

// The bytes of two taps side by side, as words for the vectors of a panel.
inline void pairs_of_taps(__m128i a, __m128i b, Integers* words) {
  const __m128i low = _mm_unpacklo_epi8(a, b), high = _mm_unpackhi_epi8(a, b);
#ifdef __AVX512BW__
  words[0] = from_bytes(_mm256_set_m128i(high, low));
#else
  words[0] = from_bytes(low), words[1] = from_bytes(high);
#endif
}

// Two taps of sixteen channels at a time.
template <int P>
[[gnu::noinline]] void depthwise(const ByteTile& t) {
  for (int64_t block = 0; block < t.blocks; ++block) {
    const uint8_t* x[P];
    positions_of(t, block, x);
    constexpr int V = kPanelVectors;
    Integers sum[P][V];
    begin(t, sum);
    const uint32_t* __restrict offset = t.panel->offset;
    const int16_t* __restrict weight = t.panel->wide;
    for (int64_t left = t.panel->wide_steps; left > 0; --left) {
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        Integers taps[V];
        pairs_of_taps(load_bytes(x[p] + offset[0]), load_bytes(x[p] + offset[1]), taps);
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) sum[p][v] = add_32(sum[p][v], pairs(taps[v], load(weight + 2 * v * kIntegerLanes)));
      }
      offset += 2;
      weight += 2 * kBytePanel;
    }
    finish(t, block, sum);
  }
}

#endif

template <int P, int V>
void tile_of(const ByteTile& t) {
  if constexpr (P > 1)
    if (t.positions < P) return tile_of<P - 1, V>(t);
  tile<P, V>(t);
}
template <int P>
void depthwise_of(const ByteTile& t) {
  if constexpr (P > 1)
    if (t.positions < P) return depthwise_of<P - 1>(t);
  depthwise<P>(t);
}

void byte_tile(const ByteTile& t) {
  if constexpr (kTilePanels > 1)
    if (t.panels > 1) return tile_of<kTilePositions[kTilePanels - 1], kTilePanels * kPanelVectors>(t);
  tile_of<kTilePositions[0], kPanelVectors>(t);
}
void depthwise_tile(const ByteTile& t) { depthwise_of<kDepthwisePositions>(t); }

}  // namespace
}  // namespace qgrad
