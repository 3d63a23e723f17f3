// The integer engine's kernels for AVX-512.
#include "engine/kernels/byte_product.inl"
#include "engine/kernels/byte_tiles.inl"

#define QGRAD_BYTE_ROW byte_avx512
#include "engine/kernels/byte.inl"
