// Memory layouts: ours (NHWC images, HWIO convolution weights, [in, out] linear weights) and the outside world's.
#pragma once

#include <cstdint>

#include "core/tensor.h"

namespace qgrad {

// How a parameter's layout in memory relates to the outside world's (PyTorch's) in files.
struct Layout {
  enum class Order {
    plain,            // the same
    conv,             // HWIO here, OIHW there
    linear,           // [in, out] here, [out, in] there
    transposed_conv,  // [kh, kw, in/groups, out] here, [in, out/groups, kh, kw] there
  };
  Order order = Order::plain;
  int64_t groups = 1;  // of a transposed convolution
  bool operator==(const Layout&) const = default;

  static const Layout plain, conv, linear;
  static constexpr Layout transposed_conv(int64_t groups) { return {Order::transposed_conv, groups}; }
};
inline constexpr Layout Layout::plain{Layout::Order::plain};
inline constexpr Layout Layout::conv{Layout::Order::conv};
inline constexpr Layout Layout::linear{Layout::Order::linear};

// Copies; nothing is recorded.
Tensor to_file_layout(const Tensor& ours, const Layout& layout);
Tensor from_file_layout(const Tensor& theirs, const Layout& layout);
Shape file_shape(const Shape& ours, const Layout& layout);

}  // namespace qgrad
