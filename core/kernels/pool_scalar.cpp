// Pooling kernels for any processor.
#include "core/kernels/pool_kernels.h"

#define QGRAD_POOL pool_scalar
#include "core/kernels/pool.inl"
