// Conv kernels.
#pragma once

namespace qgrad {

struct ConvKernels {};

}  // namespace qgrad
