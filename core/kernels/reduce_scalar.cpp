// Reduction kernels for any processor.
#include "core/kernels/reduce_kernels.h"

#define QGRAD_REDUCE reduce_scalar
#include "core/kernels/reduce.inl"
