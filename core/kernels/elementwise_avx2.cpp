// Elementwise kernels for AVX2.
#include "core/kernels/elementwise_kernels.h"

#define QGRAD_ELEMENTWISE elementwise_avx2
#include "core/kernels/elementwise.inl"
