// Matrix products over row-major matrices. All exact: an element is a chain of fused multiply-adds over the inner
// positions in order, however many elements an instruction set computes at a time.
#pragma once

#include <cstdint>

namespace qgrad {

// Columns of one panel of B, and output channels of one weight panel: two AVX2 vectors, or one of AVX-512.
inline constexpr int64_t kPanel = 16;

// Inner positions that a product passes at a time; A^T B adds up the sums of such blocks.
inline constexpr int64_t kGemmBlock = 256;

// C = bias + A B over whole rows. B comes in panels of 16 columns, so that it streams (gemm_pack).
struct GemmMultiply {
  int64_t rows, inner, columns;
  const float* a;       // [rows, inner]
  const float* panels;  // [ceil(columns/16)][inner][16], zero-filled
  const float* bias;    // [columns] or null
  float* c;             // [rows, columns]
};

// Rows [first, first + rows) of C = A^T B, or of C + A^T B.
struct GemmTransposed {
  int64_t first, rows, inner, columns;
  int64_t a_columns;  // >= first + rows
  const float* a;     // [inner, a_columns]
  const float* b;     // [inner, columns]
  float* c;           // [rows, columns]: the wanted rows only
  bool adds = false;  // to what c has
};

struct GemmKernels {
  void (*multiply)(const GemmMultiply&);
};

// Apart from it, as the engine does without.
struct GemmGradientKernels {
  void (*multiply_transposed)(const GemmTransposed&);
  // sum[columns] += the column sums of x [rows, columns], row by row. Exact.
  void (*add_column_sums)(int64_t rows, int64_t columns, const float* x, float* sum);
};

int64_t gemm_packed_floats(int64_t inner, int64_t columns);
// Panels of B, whose element (k, column) is b[k * inner_stride + column * column_stride].
void gemm_pack(int64_t inner, int64_t columns, const float* b, int64_t inner_stride, int64_t column_stride,
               float* panels);

}  // namespace qgrad
