// Choosing the row of the kernel table once, at the first use.
#include <cstdlib>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/kernels/kernels.h"

namespace qgrad {

// One function per family and instruction set, defined beside its kernels.
ElementwiseKernels elementwise_scalar(), elementwise_avx2();
GemmKernels gemm_scalar(), gemm_avx2();
ConvKernels conv_scalar(), conv_avx2();
ReduceKernels reduce_scalar(), reduce_avx2();
PoolKernels pool_scalar(), pool_avx2();
NormKernels norm_scalar(), norm_avx2();
QuantKernels quant_scalar(), quant_avx2();
IntegerKernels integer_scalar(), integer_avx2();

namespace {

const Kernels* scalar_row() {
  static const Kernels row{
      .isa = "scalar",
      .elementwise = elementwise_scalar(),
      .reduce = reduce_scalar(),
      .gemm = gemm_scalar(),
      .conv = conv_scalar(),
      .pool = pool_scalar(),
      .norm = norm_scalar(),
      .quant = quant_scalar(),
      .integer = integer_scalar(),
  };
  return &row;
}

#if defined(__x86_64__)
const Kernels* avx2_row() {
  static const Kernels row{
      .isa = "avx2",
      .elementwise = elementwise_avx2(),
      .reduce = reduce_avx2(),
      .gemm = gemm_avx2(),
      .conv = conv_avx2(),
      .pool = pool_avx2(),
      .norm = norm_avx2(),
      .quant = quant_avx2(),
      .integer = integer_avx2(),
  };
  return &row;
}
#endif

const Kernels* choose() {
  const std::span<const Kernels* const> rows = available_kernels();
  const char* forced = std::getenv("QGRAD_ISA");
  if (!forced || !*forced) return rows.back();
  for (const Kernels* row : rows)
    if (std::string_view(row->isa) == forced) return row;
  fail("QGRAD_ISA={}: expected scalar{}", forced, rows.size() > 1 ? " or avx2" : " (this processor has no AVX2)");
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> rows = [] {
    std::vector<const Kernels*> available{scalar_row()};
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
      available.push_back(avx2_row());
#endif
    return available;
  }();
  return rows;
}

const Kernels& kernels() {
  static const Kernels* chosen = choose();
  return *chosen;
}

}  // namespace qgrad
