// The row for any processor: the specification of the others.
#define QGRAD_ROW(family) family##_scalar
#include "core/kernels/conv/conv.inl"
#include "core/kernels/gemm/gemm.inl"
#include "core/kernels/plain.inl"
