// The row for AVX-512, which VNNI adds nothing to.
#define QGRAD_ROW(family) family##_avx512
#include "core/kernels/conv/conv_tiled.inl"
#include "core/kernels/gemm/gemm_tiled.inl"
#include "core/kernels/plain.inl"
