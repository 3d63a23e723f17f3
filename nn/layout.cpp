// Permuting copies.
#include "nn/layout.h"

#include <array>

#include "core/error.h"

namespace qgrad {
namespace {

constexpr int kHwioToOihw[] = {3, 2, 0, 1};
constexpr int kOihwToHwio[] = {2, 3, 1, 0};
constexpr int kSwap[] = {1, 0};
constexpr int kNchwToNhwc[] = {0, 2, 3, 1};
constexpr int kNhwcToNchw[] = {0, 3, 1, 2};

Shape permuted_shape(const Shape& shape, std::span<const int> order) {
  check(static_cast<size_t>(shape.rank()) == order.size(), "layout: expected {} dimensions, got {}", order.size(),
        shape);
  Shape out = shape;
  for (size_t i = 0; i < order.size(); ++i) out.set(static_cast<int>(i), shape[order[i]]);
  return out;
}

std::span<const int> order_to_file(Layout layout) {
  return layout == Layout::conv ? std::span<const int>(kHwioToOihw) : std::span<const int>(kSwap);
}

}  // namespace

Tensor permuted(const Tensor& x, std::span<const int> order) {
  const Shape shape = permuted_shape(x.shape(), order);
  const size_t rank = order.size();
  std::array<int64_t, Shape::kMaxRank> stride{}, index{};  // of x, by output dimension
  for (size_t i = 0; i < rank; ++i) stride[i] = x.shape().numel_from(order[i] + 1);

  Tensor y = Tensor::empty(shape);
  const float* from = x.data().data();
  int64_t offset = 0;
  for (float& value : y.mutable_data()) {
    value = from[offset];
    for (size_t i = rank; i-- > 0;) {
      offset += stride[i];
      if (++index[i] < shape[static_cast<int>(i)]) break;
      offset -= stride[i] * index[i];
      index[i] = 0;
    }
  }
  return y;
}

Tensor to_file_layout(const Tensor& ours, Layout layout) {
  return layout == Layout::plain ? ours.clone() : permuted(ours, order_to_file(layout));
}

Tensor from_file_layout(const Tensor& theirs, Layout layout) {
  if (layout == Layout::plain) return theirs.clone();
  return permuted(theirs, layout == Layout::conv ? std::span<const int>(kOihwToHwio) : std::span<const int>(kSwap));
}

Shape file_shape(const Shape& ours, Layout layout) {
  return layout == Layout::plain ? ours : permuted_shape(ours, order_to_file(layout));
}

Tensor nchw_to_nhwc(const Tensor& images) { return permuted(images, kNchwToNhwc); }
Tensor nhwc_to_nchw(const Tensor& images) { return permuted(images, kNhwcToNchw); }

}  // namespace qgrad
