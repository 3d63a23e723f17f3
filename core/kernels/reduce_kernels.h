// Reduce kernels.
#pragma once

namespace qgrad {

struct ReduceKernels {};

}  // namespace qgrad
