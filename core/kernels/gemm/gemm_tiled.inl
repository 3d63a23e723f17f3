// Matrix products on register tiles.
#include "core/kernels/blocks.h"
#include "core/kernels/gemm/column_sums.h"
#include "core/kernels/gemm/gemm.h"
#include "core/kernels/tiles.h"

namespace qgrad {
namespace gemm_tiles {
namespace {

// By blocks of inner positions: a panel of B, or the columns of A and B under a tile, then stay in the first-level
// cache.
void multiply(const GemmMultiply& m) {
  if (m.rows == 0) return;
  for (int64_t k = 0; k < m.inner || k == 0; k += kGemmBlock)
    for (int64_t column = 0, lanes = 0; column < m.columns; column += lanes) {
      lanes = columns_of_tile(m.columns - column);
      PositionTile t{};
      t.weight = m.panels + column * m.inner + k * kPanel;
      t.bias = m.bias ? m.bias + column : nullptr;
      t.weight_step = kPanel, t.panel_step = m.inner * kPanel;
      t.lanes = lanes;
      t.outer = t.inner = 1;
      t.run = least(kGemmBlock, m.inner - k);
      t.add = k > 0;
      Blocks<float> blocks(1, m.rows, positions_of_tile(t.lanes), {m.inner, 0, m.columns, 0, false});
      blocks.start(0, m.a + k, m.c + column);
      for (int64_t block = 0; block < blocks.count(); block += t.blocks) {
        const int64_t positions = blocks.next(t).positions;
        run_position_tile(positions, t);
      }
    }
}

void multiply_transposed(const GemmTransposed& m) {
  for (int64_t i = 0; i < m.rows * m.columns && !m.adds; ++i) m.c[i] = 0;
  for (int64_t k = 0; k < m.inner; k += kGemmBlock)
    for (int64_t column = 0; column < m.columns; column += kOuterColumns) {
      const int64_t lanes = least(kOuterColumns, m.columns - column), tile = rows_of_tile(lanes);
      for (int64_t row = 0; row < m.rows; row += tile) {
        OuterTile t{};
        t.x = m.a + k * m.a_columns + m.first + row;
        t.b = m.b + k * m.columns + column;
        t.c = m.c + row * m.columns + column;
        t.c_pitch = m.columns;
        t.lanes = lanes;
        t.images = t.rows = 1;
        t.positions = least(kGemmBlock, m.inner - k);
        t.x_step = m.a_columns;
        t.b_step = m.columns;
        run_outer_tile(least(tile, m.rows - row), t);
      }
    }
}

}  // namespace
}  // namespace gemm_tiles

GemmKernels QGRAD_ROW(gemm)() {
  using namespace gemm_tiles;
  return {multiply};
}

GemmGradientKernels QGRAD_ROW(gemm_gradient)() {
  using namespace gemm_tiles;
  return {multiply_transposed, add_column_sums};
}

}  // namespace qgrad
