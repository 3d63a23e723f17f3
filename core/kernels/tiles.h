// Register tiles of matrix products: some vectors of columns, as many rows as there are registers for their sums,
// broadcasts from memory. The loops must compile without spilling a sum, which is why each tile is a function of its
// own that is never inlined.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "core/kernels/conv/conv.h"
#include "core/kernels/vector.h"

namespace qgrad {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr bool kWide = kVectorLanes == kPanel;  // 32 registers, not 16

// A tile of positions has one vector of columns, two, or, where registers allow it, four. With AVX-512 more positions
// would fit where there are few columns, but they take general registers, too, and there are fifteen.
constexpr int kMostVectors = kWide ? 4 : 2;
constexpr int64_t kTileColumns = kMostVectors * kVectorLanes;
constexpr int kMostPositions = kWide ? 9 : 6;
constexpr int most_positions(int vectors) { return !kWide || vectors == 4 ? 6 : vectors == 2 ? 8 : kMostPositions; }

// The same of a tile of weights.
constexpr int64_t kOuterColumns = 2 * kVectorLanes;
constexpr int kOuterRows[] = {kWide ? 24 : 6, kWide ? 12 : 6};
inline int64_t rows_of_tile(int64_t lanes) { return kOuterRows[lanes > kVectorLanes]; }

// What a tile takes of the columns that are left, and how many positions it has then.
inline int64_t columns_of_tile(int64_t left) {
  return left >= kTileColumns ? kTileColumns : least(left, 2 * kVectorLanes);
}
inline int64_t positions_of_tile(int64_t lanes) {
  return lanes > 2 * kVectorLanes ? most_positions(4) : most_positions(lanes > kVectorLanes ? 2 : 1);
}

// y[p][0..lanes) = bias + sum over (outer, inner, k) of x[p][outer * outer_step + inner * inner_step + k] * the next
// weights of a panel; then the ending. So for each of some blocks of positions.
struct PositionTile {
  const float* x[kMostPositions];
  float* y[kMostPositions];
  const float* weight;  // [outer][inner][run], weight_step floats each, of which a panel's are used
  const float* bias;    // [lanes], or null
  int64_t weight_step, panel_step;
  int64_t lanes;  // columns_of_tile()
  int64_t outer, outer_step, inner, inner_step, run;
  bool add;   // to what y holds, instead of to the bias
  bool ends;  // the sums are whole: the ending follows
  int64_t blocks = 1;
  int64_t x_block = 0, y_block = 0;  // floats from one block to the next
  ConvEnding ending;
  const float* image;  // y of the whole image, as which the ending's addend is laid out
};

template <int P, int V>
using Sums = Vector[P][V];

template <int P, int V>
[[gnu::always_inline]] inline void start_sums(const PositionTile& t, int64_t y_offset, Sums<P, V>& sum) {
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
    const Mask mask = first_lanes(t.lanes - v * kVectorLanes);
    const Vector bias = t.add || !t.bias ? zeros() : load(t.bias + v * kVectorLanes, mask);
#pragma GCC unroll 24
    for (int p = 0; p < P; ++p) sum[p][v] = t.add ? load(t.y[p] + y_offset + v * kVectorLanes, mask) : bias;
  }
}

template <int P, int V>
[[gnu::always_inline]] inline void store_sums(const PositionTile& t, int64_t y_offset, Sums<P, V>& sum) {
  const bool adds = t.ends && t.ending.addend, clamps = t.ends && t.ending.clamps;
  if (t.lanes < V * kVectorLanes) {  // seldom: a loop has less code than registers would
    Vector all[P * V];
#pragma GCC unroll 24
    for (int i = 0; i < P * V; ++i) all[i] = sum[i / V][i % V];
#pragma GCC unroll 1
    for (int i = 0; i < P * V; ++i) {
      float* y = t.y[i / V] + y_offset + i % V * kVectorLanes;
      const Mask mask = first_lanes(t.lanes - i % V * kVectorLanes);
      if (adds) all[i] = add(all[i], load(t.ending.addend + (y - t.image), mask));
      if (clamps) all[i] = clamp(all[i], broadcast(&t.ending.low), broadcast(&t.ending.high));
      store(y, mask, all[i]);
    }
    return;
  }
  if (adds)
#pragma GCC unroll 24
    for (int p = 0; p < P; ++p) {
      const float* addend = t.ending.addend + (t.y[p] + y_offset - t.image);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[p][v] = add(sum[p][v], load(addend + v * kVectorLanes));
    }
  if (clamps) {
    const Vector low = broadcast(&t.ending.low), high = broadcast(&t.ending.high);
#pragma GCC unroll 24
    for (int i = 0; i < P * V; ++i) sum[i / V][i % V] = clamp(sum[i / V][i % V], low, high);
  }
#pragma GCC unroll 24
  for (int p = 0; p < P; ++p) {
    float* y = t.y[p] + y_offset;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(y + v * kVectorLanes, sum[p][v]);
  }
}

template <int P, int V>
[[gnu::noinline]] void position_tile(const PositionTile& t) {
  const int64_t run = t.run, weight_step = t.weight_step, vector_step = kWide ? t.panel_step : kVectorLanes;
  int64_t x_offset = 0, y_offset = 0;
  for (int64_t block = 0; block < t.blocks; ++block, x_offset += t.x_block, y_offset += t.y_block) {
    Sums<P, V> sum;
    start_sums(t, y_offset, sum);
    const float* __restrict weight = t.weight;
    for (int64_t outer = 0; outer < t.outer; ++outer)
      for (int64_t inner = 0; inner < t.inner; ++inner) {
        const int64_t offset = x_offset + outer * t.outer_step + inner * t.inner_step;
        const float* __restrict x[P];
#pragma GCC unroll 24
        for (int p = 0; p < P; ++p) x[p] = t.x[p] + offset;
#pragma GCC unroll 2
        for (int64_t k = 0; k < run; ++k) {
          Vector w[V];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) w[v] = load(weight + v * vector_step);
          weight += weight_step;
#pragma GCC unroll 24
          for (int p = 0; p < P; ++p) {
            const Vector value = broadcast(x[p] + k);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sum[p][v] = multiply_add(value, w[v], sum[p][v]);
          }
        }
      }
    store_sums(t, y_offset, sum);
  }
}

template <int P, int V>
void position_tile_of(int64_t positions, const PositionTile& t) {
  if constexpr (P > 1)
    if (positions < P) return position_tile_of<P - 1, V>(positions, t);
  position_tile<P, V>(t);
}

// positions: 1 .. positions_of_tile(t.lanes).
inline void run_position_tile(int64_t positions, const PositionTile& t) {
  if constexpr (kMostVectors > 2)
    if (t.lanes > 2 * kVectorLanes) return position_tile_of<most_positions(4), 4>(positions, t);
  if (t.lanes > kVectorLanes) return position_tile_of<most_positions(2), 2>(positions, t);
  position_tile_of<most_positions(1), 1>(positions, t);
}

// c[r][0..lanes) += sum over (image, row, position) of x[image * x_image + row * x_row + position * x_step + r] *
// b[image * b_image + row * b_row + position * b_step + 0..lanes).
struct OuterTile {
  const float* x;
  const float* b;
  float* c;
  int64_t c_pitch;
  int64_t lanes;  // 1 .. kOuterColumns
  int64_t images, x_image, b_image;
  int64_t rows, x_row, b_row;
  int64_t positions, x_step, b_step;
};

template <int R, int V, bool Masked>
[[gnu::noinline]] void outer_tile(const OuterTile& t) {
  Mask mask[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) mask[v] = first_lanes(t.lanes - v * kVectorLanes);
  Vector sum[R][V];
#pragma GCC unroll 24
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[r][v] = zeros();
  const int64_t x_step = t.x_step, b_step = t.b_step;
  for (int64_t image = 0; image < t.images; ++image)
    for (int64_t row = 0; row < t.rows; ++row) {
      const float* __restrict x = t.x + image * t.x_image + row * t.x_row;
      const float* __restrict b = t.b + image * t.b_image + row * t.b_row;
#pragma GCC unroll 2
      for (int64_t position = t.positions; position > 0; --position) {
        Vector w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) w[v] = load_lanes<Masked>(b + v * kVectorLanes, mask[v]);
#pragma GCC unroll 24
        for (int r = 0; r < R; ++r) {
          const Vector value = broadcast(x + r);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) sum[r][v] = multiply_add(value, w[v], sum[r][v]);
        }
        x += x_step;
        b += b_step;
      }
    }
#pragma GCC unroll 24
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* c = t.c + r * t.c_pitch + v * kVectorLanes;
      store_lanes<Masked>(c, mask[v], add(load_lanes<Masked>(c, mask[v]), sum[r][v]));
    }
}

template <int R, int V, bool Masked>
void outer_tile_of(int64_t rows, const OuterTile& t) {
  if constexpr (R > 1)
    if (rows < R) return outer_tile_of<R - 1, V, Masked>(rows, t);
  outer_tile<R, V, Masked>(t);
}

// rows: 1 .. rows_of_tile(t.lanes).
inline void run_outer_tile(int64_t rows, const OuterTile& t) {
  if (t.lanes == kOuterColumns) return outer_tile_of<kOuterRows[1], 2, false>(rows, t);
  if (t.lanes == kVectorLanes) return outer_tile_of<kOuterRows[0], 1, false>(rows, t);
  if (t.lanes > kVectorLanes) return outer_tile_of<kOuterRows[1], 2, true>(rows, t);
  outer_tile_of<kOuterRows[0], 1, true>(rows, t);
}

}  // namespace
}  // namespace qgrad
