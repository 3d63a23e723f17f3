// Memory layouts: ours (NHWC images, HWIO convolution weights, [in, out] linear weights) and the outside world's.
#pragma once

#include <span>

#include "core/tensor.h"

namespace qgrad {

// How a parameter's layout in memory relates to the outside world's (PyTorch's) in files.
enum class Layout {
  plain,   // the same
  conv,    // HWIO here, OIHW there
  linear,  // [in, out] here, [out, in] there
};

// A copy whose dimension i is x's dimension order[i]. Not recorded; the op is ops.h: transpose.
Tensor permuted(const Tensor& x, std::span<const int> order);

Tensor to_file_layout(const Tensor& ours, Layout layout);
Tensor from_file_layout(const Tensor& theirs, Layout layout);
Shape file_shape(const Shape& ours, Layout layout);

Tensor nchw_to_nhwc(const Tensor& images);
Tensor nhwc_to_nchw(const Tensor& images);

}  // namespace qgrad
