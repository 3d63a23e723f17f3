// Pooling kernels for AVX2.
#include "core/kernels/pool_kernels.h"

#define QGRAD_POOL pool_avx2
#include "core/kernels/pool.inl"
