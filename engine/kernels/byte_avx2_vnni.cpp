// The integer engine's kernels for AVX2 with AVX-VNNI: a convolution of its own.
#include "engine/kernels/byte_tiles.inl"

// With those tiles.
#include "engine/kernels/byte_conv.inl"

namespace qgrad {

ByteKernels byte_avx2();

ByteKernels byte_avx2_vnni() {
  ByteKernels row = byte_avx2();
  row.arithmetic = kByteArithmetic;
  row.conv = conv;
  return row;
}

}  // namespace qgrad
