// Choosing the row of the integer engine's kernels once, at the first use.
#include "engine/kernels/byte_table.h"

#include "core/kernels/isa.h"

namespace qgrad {

ByteKernels byte_scalar(), byte_avx2(), byte_avx2_vnni(), byte_avx512(), byte_avx512_vnni();

namespace {

const IsaTable<ByteKernels>& table() {
  static const IsaTable<ByteKernels> table({
      byte_scalar,
#ifdef QGRAD_X86_64
      byte_avx2,
      byte_avx2_vnni,
      byte_avx512,
      byte_avx512_vnni,
#endif
  });
  return table;
}

}  // namespace

std::span<const ByteKernels* const> available_byte_kernels() { return table().rows(); }

const ByteKernels& byte_kernels() {
  static const ByteKernels& chosen = table().chosen();
  return chosen;
}

}  // namespace qgrad
