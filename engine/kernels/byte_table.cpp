// Choosing the row of the integer engine's kernels once, at the first use.
#include "engine/kernels/byte_table.h"

#include <vector>

#include "core/kernels/isa.h"

namespace qgrad {

ByteKernels byte_scalar(), byte_avx2();

std::span<const ByteKernels* const> available_byte_kernels() {
  static const std::vector<const ByteKernels*> rows = [] {
    static const ByteKernels scalar = byte_scalar();
    std::vector<const ByteKernels*> available{&scalar};
#ifdef QGRAD_X86_64
    if (processor_has_avx2()) {
      static const ByteKernels avx2 = byte_avx2();
      available.push_back(&avx2);
    }
#endif
    return available;
  }();
  return rows;
}

const ByteKernels& byte_kernels() {
  static const ByteKernels& chosen = chosen_row(available_byte_kernels());
  return chosen;
}

}  // namespace qgrad
