// Panels of a matrix, in the order in which products read them.
#include <algorithm>

#include "core/kernels/gemm/gemm.h"

namespace qgrad {

int64_t gemm_packed_floats(int64_t inner, int64_t columns) { return (columns + kPanel - 1) / kPanel * kPanel * inner; }

void gemm_pack(int64_t inner, int64_t columns, const float* b, int64_t inner_stride, int64_t column_stride,
               float* panels) {
  for (int64_t first = 0; first < columns; first += kPanel) {
    const int64_t lanes = std::min(kPanel, columns - first);
    for (int64_t k = 0; k < inner; ++k, panels += kPanel) {
      const float* from = b + k * inner_stride + first * column_stride;
      for (int64_t lane = 0; lane < lanes; ++lane) panels[lane] = from[lane * column_stride];
      std::fill(panels + lanes, panels + kPanel, 0.0f);
    }
  }
}

}  // namespace qgrad
