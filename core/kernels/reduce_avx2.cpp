// Reduction kernels for AVX2.
#include "core/kernels/reduce_kernels.h"

#define QGRAD_REDUCE reduce_avx2
#include "core/kernels/reduce.inl"
