// Memory layouts: ours (NHWC images, HWIO convolution weights, [in, out] linear weights) and the outside world's.
#pragma once

#include "core/tensor.h"

namespace qgrad {

// How a parameter's layout in memory relates to the outside world's (PyTorch's) in files.
enum class Layout {
  plain,   // the same
  conv,    // HWIO here, OIHW there
  linear,  // [in, out] here, [out, in] there
};

// Copies; nothing is recorded.
Tensor to_file_layout(const Tensor& ours, Layout layout);
Tensor from_file_layout(const Tensor& theirs, Layout layout);
Shape file_shape(const Shape& ours, Layout layout);

}  // namespace qgrad
