// Matrix products for any processor: the specification of the others.
#include "core/kernels/gemm/gemm.h"

#include <algorithm>

namespace qgrad {
namespace gemm_loops {
namespace {

void multiply(const GemmMultiply& m) {
  for (int64_t row = 0; row < m.rows; ++row)
    for (int64_t first = 0; first < m.columns; first += kPanel) {
      const int64_t lanes = std::min(kPanel, m.columns - first);
      const float* panel = m.panels + first * m.inner;
      float sum[kPanel] = {};
      for (int64_t lane = 0; m.bias && lane < lanes; ++lane) sum[lane] = m.bias[first + lane];
      for (int64_t k = 0; k < m.inner; ++k)
        for (int64_t lane = 0; lane < kPanel; ++lane) sum[lane] += m.a[row * m.inner + k] * panel[k * kPanel + lane];
      std::copy_n(sum, lanes, m.c + row * m.columns + first);
    }
}

void multiply_transposed(const GemmTransposed& m) {
  std::fill_n(m.c, m.rows * m.columns, 0.0f);
  for (int64_t k = 0; k < m.inner; ++k)
    for (int64_t row = 0; row < m.rows; ++row)
      for (int64_t column = 0; column < m.columns; ++column)
        m.c[row * m.columns + column] += m.a[k * m.a_columns + m.first + row] * m.b[k * m.columns + column];
}

void add_column_sums(int64_t rows, int64_t columns, const float* x, float* sum) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) sum[column] += x[row * columns + column];
}

}  // namespace
}  // namespace gemm_loops

GemmKernels QGRAD_ROW(gemm)() {
  using namespace gemm_loops;
  return {multiply, multiply_transposed, add_column_sums};
}

}  // namespace qgrad
