// The plain loops for AVX2. Convolutions and products of matrices have files of their own.
#define QGRAD_ROW(family) family##_avx2
#include "core/kernels/plain.inl"
