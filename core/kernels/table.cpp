// Choosing the row of the kernel table once, at the first use.
#include "core/kernels/table.h"

#include "core/kernels/isa.h"

namespace qgrad {

// One function per family and instruction set, defined beside its loops.
#define QGRAD_ROWS(Type, name) Type##Kernels name##_scalar(), name##_avx2(), name##_avx512();
QGRAD_KERNEL_FAMILIES(QGRAD_ROWS)
ConvKernels conv_scalar_fma();
ConvGradientKernels conv_gradient_scalar_fma();
GemmKernels gemm_scalar_fma();
GemmGradientKernels gemm_gradient_scalar_fma();

namespace {

#define QGRAD_SCALAR(Type, name) .name = name##_scalar(),
#define QGRAD_AVX2(Type, name) .name = name##_avx2(),
#define QGRAD_AVX512(Type, name) .name = name##_avx512(),

Kernels scalar_row() {
  Kernels row{QGRAD_KERNEL_FAMILIES(QGRAD_SCALAR)};
#ifdef QGRAD_X86_64
  if (processor_has_fma()) {
    row.conv = conv_scalar_fma(), row.conv_gradient = conv_gradient_scalar_fma();
    row.gemm = gemm_scalar_fma(), row.gemm_gradient = gemm_gradient_scalar_fma();
  }
#endif
  return row;
}

const IsaTable<Kernels>& table() {
  static const IsaTable<Kernels> table({
      scalar_row,
#ifdef QGRAD_X86_64
      [] { return Kernels{QGRAD_KERNEL_FAMILIES(QGRAD_AVX2)}; },
      [] { return Kernels{QGRAD_KERNEL_FAMILIES(QGRAD_AVX2)}; },
      [] { return Kernels{QGRAD_KERNEL_FAMILIES(QGRAD_AVX512)}; },
      [] { return Kernels{QGRAD_KERNEL_FAMILIES(QGRAD_AVX512)}; },
#endif
  });
  return table;
}

}  // namespace

std::span<const Kernels* const> available_kernels() { return table().rows(); }

const Kernels& kernels() {
  static const Kernels& chosen = table().chosen();
  return chosen;
}

}  // namespace qgrad
