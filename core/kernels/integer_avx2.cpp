// Integer layers' kernels for AVX2.
#include "core/kernels/integer_kernels.h"

#define QGRAD_INTEGER integer_avx2
#include "core/kernels/integer.inl"
