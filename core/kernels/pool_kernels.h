// Pool kernels.
#pragma once

namespace qgrad {

struct PoolKernels {};

}  // namespace qgrad
