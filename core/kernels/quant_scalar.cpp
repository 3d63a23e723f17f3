// Quantization kernels for any processor.
#include "core/kernels/quant_kernels.h"

#include "core/kernels/quant.inl"

namespace qgrad {

QuantKernels quant_scalar() { return table(); }

}  // namespace qgrad
