// Choosing the row of the kernel table once, at the first use.
#include "core/kernels/table.h"

#include <vector>

#include "core/kernels/isa.h"

namespace qgrad {

// One function per family and instruction set, defined beside its loops.
#define QGRAD_ROWS(Type, name) Type##Kernels name##_scalar(), name##_avx2();
QGRAD_KERNEL_FAMILIES(QGRAD_ROWS)

namespace {

#define QGRAD_SCALAR(Type, name) .name = name##_scalar(),
#define QGRAD_AVX2(Type, name) .name = name##_avx2(),

std::vector<const Kernels*> rows_that_run() {
  static const Kernels scalar{.isa = "scalar", QGRAD_KERNEL_FAMILIES(QGRAD_SCALAR)};
  std::vector<const Kernels*> rows{&scalar};
#ifdef QGRAD_X86_64
  if (processor_has_avx2()) {
    static const Kernels avx2{.isa = "avx2", QGRAD_KERNEL_FAMILIES(QGRAD_AVX2)};
    rows.push_back(&avx2);
  }
#endif
  return rows;
}

}  // namespace

std::span<const Kernels* const> available_kernels() {
  static const std::vector<const Kernels*> rows = rows_that_run();
  return rows;
}

const Kernels& kernels() {
  static const Kernels& chosen = chosen_row(available_kernels());
  return chosen;
}

}  // namespace qgrad
