// The scalar row's products for processors with an instruction for fused multiply-add: what others compute in its place
// gives the same bits and takes ten times as long.
#define QGRAD_ROW(family) family##_scalar_fma
#include "core/kernels/conv/conv.inl"
#include "core/kernels/gemm/gemm.inl"
