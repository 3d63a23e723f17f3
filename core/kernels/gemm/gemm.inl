// Matrix products for any processor: the specification of the others.
#include "core/kernels/gemm/gemm.h"

#include "core/kernels/functions.h"
#include "core/kernels/gemm/column_sums.h"

namespace qgrad {
namespace gemm_loops {
namespace {

int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

void multiply(const GemmMultiply& m) {
  for (int64_t row = 0; row < m.rows; ++row)
    for (int64_t first = 0; first < m.columns; first += kPanel) {
      const int64_t lanes = least(kPanel, m.columns - first);
      const float* panel = m.panels + first * m.inner;
      float sum[kPanel] = {};
      for (int64_t lane = 0; m.bias && lane < lanes; ++lane) sum[lane] = m.bias[first + lane];
      for (int64_t k = 0; k < m.inner; ++k)
        for (int64_t lane = 0; lane < kPanel; ++lane)
          sum[lane] = fused_multiply_add(m.a[row * m.inner + k], panel[k * kPanel + lane], sum[lane]);
      for (int64_t lane = 0; lane < lanes; ++lane) m.c[row * m.columns + first + lane] = sum[lane];
    }
}

void multiply_transposed(const GemmTransposed& m) {
  for (int64_t row = 0; row < m.rows; ++row)
    for (int64_t first = 0; first < m.columns; first += kPanel) {
      const int64_t lanes = least(kPanel, m.columns - first);
      float* c = m.c + row * m.columns + first;
      for (int64_t lane = 0; lane < lanes && !m.adds; ++lane) c[lane] = 0.0f;
      for (int64_t block = 0; block < m.inner; block += kGemmBlock) {
        float sum[kPanel] = {};
        for (int64_t k = block; k < least(block + kGemmBlock, m.inner); ++k)
          for (int64_t lane = 0; lane < lanes; ++lane)
            sum[lane] =
                fused_multiply_add(m.a[k * m.a_columns + m.first + row], m.b[k * m.columns + first + lane], sum[lane]);
        for (int64_t lane = 0; lane < lanes; ++lane) c[lane] += sum[lane];
      }
    }
}

}  // namespace
}  // namespace gemm_loops

GemmKernels QGRAD_ROW(gemm)() {
  using namespace gemm_loops;
  return {multiply};
}

GemmGradientKernels QGRAD_ROW(gemm_gradient)() {
  using namespace gemm_loops;
  return {multiply_transposed, add_column_sums};
}

}  // namespace qgrad
