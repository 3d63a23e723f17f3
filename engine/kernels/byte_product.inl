// Products of matrices of 16-bit integers, written over vectors and compiled per instruction set.
#include "engine/kernels/byte_vector.h"

namespace qgrad {
namespace {

constexpr int kProductRows = 6;

// R rows, the columns of a panel. x, factors: where they begin.
template <int R>
void product_tile(const ByteProduct& p, const int16_t* x, const int16_t* __restrict factors, int32_t* y) {
  const int64_t columns = p.panels * kBytePanel;
  Integers sum[R][kPanelVectors];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) sum[r][v] = no_sums();
  for (int64_t k = 0; k < p.pairs; ++k, x += 2, factors += 2 * columns) {
    Integers factor[kPanelVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) factor[v] = load(factors + 2 * v * kIntegerLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Integers pair = four_of(reinterpret_cast<const uint8_t*>(x + r * p.pairs * 2));
#pragma GCC unroll 2
      for (int v = 0; v < kPanelVectors; ++v) sum[r][v] = add_32(sum[r][v], pairs(pair, factor[v]));
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < kPanelVectors; ++v) store(y + r * columns + v * kIntegerLanes, sum[r][v]);
}

template <int R>
void product_rows(const ByteProduct& p, int64_t row) {
  if constexpr (R > 1)
    if (p.rows - row < R) return product_rows<R - 1>(p, row);
  for (int64_t c = 0; c < p.panels * kBytePanel; c += kBytePanel)
    product_tile<R>(p, p.x + row * p.pairs * 2, p.factors + 2 * c, p.y + row * p.panels * kBytePanel + c);
}

void product(const ByteProduct& p) {
  for (int64_t row = 0; row < p.rows; row += kProductRows) product_rows<kProductRows>(p, row);
}

}  // namespace
}  // namespace qgrad
