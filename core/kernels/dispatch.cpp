// Choosing the row of the kernel table once, at the first use.
#include "core/kernels/kernels.h"

#include <vector>

#include "core/kernels/isa.h"

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

}  // namespace

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> rows = [] {
    std::vector<const Kernels*> available{scalar_row()};
    if (processor_has_avx2()) available.push_back(avx2_row());
    return available;
  }();
  return rows;
}

const Kernels& kernels() {
  static const Kernels& chosen = chosen_row(available_kernels());
  return chosen;
}

}  // namespace qgrad
