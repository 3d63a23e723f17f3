// The integer engine's kernels for AVX2.
#include "engine/kernels/byte_product.inl"
#include "engine/kernels/byte_tiles.inl"

#define QGRAD_BYTE_ROW byte_avx2
#include "engine/kernels/byte.inl"
