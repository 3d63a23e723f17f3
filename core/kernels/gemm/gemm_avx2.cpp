// Matrix products for AVX2, on register tiles of 6 x 16.
#include "core/kernels/gemm/gemm.h"
#include "core/kernels/tiles_avx2.h"

namespace qgrad {
namespace {

// Inner positions per pass: a panel of B, or the columns of A and B under a tile, then stay in the first-level cache.
constexpr int64_t kBlock = 256;

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void multiply(const GemmMultiply& m) {
  for (int64_t k = 0; k < m.inner || k == 0; k += kBlock)
    for (int64_t column = 0; column < m.columns; column += kPanel) {
      PositionTile t{};
      t.weight = m.panels + column * m.inner + k * kPanel;
      t.bias = m.bias ? m.bias + column : nullptr;
      t.weight_step = kPanel;
      t.lanes = least(kPanel, m.columns - column);
      t.outer = t.inner = 1;
      t.run = least(kBlock, m.inner - k);
      t.add = k > 0;
      for (int64_t row = 0; row < m.rows; row += kTile) {
        const int64_t positions = least(kTile, m.rows - row);
        for (int64_t p = 0; p < positions; ++p) {
          t.x[p] = m.a + (row + p) * m.inner + k;
          t.y[p] = m.c + (row + p) * m.columns + column;
        }
        position_tiles[positions - 1][t.lanes > 8](t);
      }
    }
}

void multiply_transposed(const GemmTransposed& m) {
  for (int64_t i = 0; i < m.rows * m.columns; ++i) m.c[i] = 0;
  for (int64_t k = 0; k < m.inner; k += kBlock)
    for (int64_t column = 0; column < m.columns; column += kPanel)
      for (int64_t row = 0; row < m.rows; row += kTile) {
        OuterTile t{};
        t.x = m.a + k * m.a_columns + m.first + row;
        t.b = m.b + k * m.columns + column;
        t.c = m.c + row * m.columns + column;
        t.c_pitch = m.columns;
        t.lanes = least(kPanel, m.columns - column);
        t.images = t.rows = 1;
        t.positions = least(kBlock, m.inner - k);
        t.x_step = m.a_columns;
        t.b_step = m.columns;
        run_outer_tile(least(kTile, m.rows - row), t);
      }
}

void add_column_sums(int64_t rows, int64_t columns, const float* x, float* sum) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) sum[column] += x[row * columns + column];
}

}  // namespace

GemmKernels gemm_avx2() { return {multiply, multiply_transposed, add_column_sums}; }

}  // namespace qgrad
