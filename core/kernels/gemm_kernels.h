// Gemm kernels.
#pragma once

namespace qgrad {

struct GemmKernels {};

}  // namespace qgrad
