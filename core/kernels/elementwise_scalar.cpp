// Elementwise kernels for any processor.
#include "core/kernels/elementwise_kernels.h"

#define QGRAD_ELEMENTWISE elementwise_scalar
#include "core/kernels/elementwise.inl"
