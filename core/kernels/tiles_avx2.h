// Register tiles of matrix products for AVX2: twelve accumulators, two weight vectors, broadcasts from memory. Included
// by the AVX2 kernel files only. The loops must compile without spilling an accumulator, which is why each tile is a
// function of its own that is never inlined.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace qgrad {
namespace {

constexpr int kTile = 6;  // positions (or weight rows) of a tile; a tile is 16 columns wide

// All-ones in the first `lanes` of the eight lanes starting at lane `first`.
inline __m256i lane_mask(int64_t lanes, int64_t first) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(lanes - first)), index);
}

// Eight floats, or the first few of them. Full vectors go without a mask: masked stores are slow on AMD processors.
template <bool Masked>
inline __m256 load(const float* from, __m256i mask) {
  return Masked ? _mm256_maskload_ps(from, mask) : _mm256_loadu_ps(from);
}
template <bool Masked>
inline void store(float* to, __m256i mask, __m256 value) {
  if (Masked)
    _mm256_maskstore_ps(to, mask, value);
  else
    _mm256_storeu_ps(to, value);
}

// y[p][0..lanes) = bias + sum over (outer, inner, k) of x[p][outer * outer_step + inner * inner_step + k] * the next 16
// weights.
struct PositionTile {
  const float* x[kTile];
  float* y[kTile];
  const float* weight;  // [outer][inner][run], weight_step floats each, of which 16 are used
  const float* bias;    // [lanes], or null
  int64_t weight_step;
  int64_t lanes;  // 1 .. 16
  int64_t outer, outer_step, inner, inner_step, run;
  bool add;  // to what y holds, instead of to the bias
};

template <int P, int V>
[[gnu::noinline]] void position_tile(const PositionTile& t) {
  __m256 sum[P][V];
#pragma GCC unroll 6
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[p][v] = _mm256_setzero_ps();
  if (t.add || t.bias)
#pragma GCC unroll 6
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v)
        sum[p][v] = _mm256_maskload_ps((t.add ? t.y[p] : t.bias) + 8 * v, lane_mask(t.lanes, 8 * v));
  const float* __restrict weight = t.weight;
  const int64_t run = t.run, weight_step = t.weight_step;
  for (int64_t outer = 0; outer < t.outer; ++outer)
    for (int64_t inner = 0; inner < t.inner; ++inner) {
      const int64_t offset = outer * t.outer_step + inner * t.inner_step;
      const float* __restrict x[P];
#pragma GCC unroll 6
      for (int p = 0; p < P; ++p) x[p] = t.x[p] + offset;
#pragma GCC unroll 2
      for (int64_t k = 0; k < run; ++k) {
        __m256 w[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) w[v] = _mm256_loadu_ps(weight + 8 * v);
        weight += weight_step;
#pragma GCC unroll 6
        for (int p = 0; p < P; ++p) {
          const __m256 value = _mm256_broadcast_ss(x[p] + k);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) sum[p][v] = _mm256_fmadd_ps(value, w[v], sum[p][v]);
        }
      }
    }
  if (t.lanes == 8 * V) {
#pragma GCC unroll 6
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) _mm256_storeu_ps(t.y[p] + 8 * v, sum[p][v]);
  } else {
#pragma GCC unroll 6
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) _mm256_maskstore_ps(t.y[p] + 8 * v, lane_mask(t.lanes, 8 * v), sum[p][v]);
  }
}

// Indexed by positions - 1 and by whether there are more than eight lanes.
void (*const position_tiles[kTile][2])(const PositionTile&) = {
    {position_tile<1, 1>, position_tile<1, 2>}, {position_tile<2, 1>, position_tile<2, 2>},
    {position_tile<3, 1>, position_tile<3, 2>}, {position_tile<4, 1>, position_tile<4, 2>},
    {position_tile<5, 1>, position_tile<5, 2>}, {position_tile<6, 1>, position_tile<6, 2>}};

// c[r][0..lanes) += sum over (image, row, position) of x[image * x_image + row * x_row + position * x_step + r] *
// b[image * b_image + row * b_row + position * b_step + 0..lanes).
struct OuterTile {
  const float* x;
  const float* b;
  float* c;
  int64_t c_pitch;
  int64_t lanes;  // 1 .. 16
  int64_t images, x_image, b_image;
  int64_t rows, x_row, b_row;
  int64_t positions, x_step, b_step;
};

template <int R, int V, bool Masked>
[[gnu::noinline]] void outer_tile(const OuterTile& t) {
  __m256i mask[V];
#pragma GCC unroll 2
  for (int v = 0; v < V; ++v) mask[v] = lane_mask(t.lanes, 8 * v);
  __m256 sum[R][V];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) sum[r][v] = _mm256_setzero_ps();
  const int64_t x_step = t.x_step, b_step = t.b_step;
  for (int64_t image = 0; image < t.images; ++image)
    for (int64_t row = 0; row < t.rows; ++row) {
      const float* __restrict x = t.x + image * t.x_image + row * t.x_row;
      const float* __restrict b = t.b + image * t.b_image + row * t.b_row;
#pragma GCC unroll 2
      for (int64_t position = t.positions; position > 0; --position) {
        __m256 w[V];
#pragma GCC unroll 2
        for (int v = 0; v < V; ++v) w[v] = load<Masked>(b + 8 * v, mask[v]);
#pragma GCC unroll 6
        for (int r = 0; r < R; ++r) {
          const __m256 value = _mm256_broadcast_ss(x + r);
#pragma GCC unroll 2
          for (int v = 0; v < V; ++v) sum[r][v] = _mm256_fmadd_ps(value, w[v], sum[r][v]);
        }
        x += x_step;
        b += b_step;
      }
    }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) {
      float* c = t.c + r * t.c_pitch + 8 * v;
      store<Masked>(c, mask[v], _mm256_add_ps(load<Masked>(c, mask[v]), sum[r][v]));
    }
}

template <int V, bool Masked>
void outer_tile_rows(int64_t rows, const OuterTile& t) {
  static void (*const tiles[kTile])(const OuterTile&) = {outer_tile<1, V, Masked>, outer_tile<2, V, Masked>,
                                                         outer_tile<3, V, Masked>, outer_tile<4, V, Masked>,
                                                         outer_tile<5, V, Masked>, outer_tile<6, V, Masked>};
  tiles[rows - 1](t);
}

// rows: 1 .. 6.
inline void run_outer_tile(int64_t rows, const OuterTile& t) {
  if (t.lanes == 16) return outer_tile_rows<2, false>(rows, t);
  if (t.lanes == 8) return outer_tile_rows<1, false>(rows, t);
  if (t.lanes > 8) return outer_tile_rows<2, true>(rows, t);
  outer_tile_rows<1, true>(rows, t);
}

}  // namespace
}  // namespace qgrad
