// Normalisation kernels for any processor.
#include "core/kernels/norm_kernels.h"

#define QGRAD_NORM norm_scalar
#include "core/kernels/norm.inl"
