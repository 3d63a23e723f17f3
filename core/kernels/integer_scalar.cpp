// Integer layers' kernels for any processor.
#include "core/kernels/integer_kernels.h"

#define QGRAD_INTEGER integer_scalar
#include "core/kernels/integer.inl"
