// Normalisation kernels for AVX2.
#include <immintrin.h>

#include "core/kernels/norm_kernels.h"

#define QGRAD_NORM norm_avx2
#define QGRAD_BITS(lanes) static_cast<uint8_t>(_mm256_movemask_ps((__m256)(lanes)))
#include "core/kernels/norm.inl"
