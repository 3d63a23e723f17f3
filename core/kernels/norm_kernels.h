// Norm kernels.
#pragma once

namespace qgrad {

struct NormKernels {};

}  // namespace qgrad
