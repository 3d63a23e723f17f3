// The row for AVX2, which AVX-VNNI adds nothing to.
#define QGRAD_ROW(family) family##_avx2
#include "core/kernels/conv/conv_tiled.inl"
#include "core/kernels/gemm/gemm_tiled.inl"
#include "core/kernels/plain.inl"
