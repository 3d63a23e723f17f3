// Normalisation kernels for AVX2.
#include "core/kernels/norm_kernels.h"

#define QGRAD_NORM norm_avx2
#include "core/kernels/norm.inl"
