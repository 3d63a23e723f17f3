// The integer engine's kernels for AVX-512 with VNNI: a convolution of its own.
#include "engine/kernels/byte_tiles.inl"

// With those tiles.
#include "engine/kernels/byte_conv.inl"

namespace qgrad {

ByteKernels byte_avx512();

ByteKernels byte_avx512_vnni() {
  ByteKernels row = byte_avx512();
  row.arithmetic = kByteArithmetic;
  row.conv = conv;
  return row;
}

}  // namespace qgrad
