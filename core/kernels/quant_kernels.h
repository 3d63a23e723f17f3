// Quant kernels.
#pragma once

namespace qgrad {

struct QuantKernels {};

}  // namespace qgrad
