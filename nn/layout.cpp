// Transposed copies.
#include "nn/layout.h"

#include "core/error.h"
#include "core/ops.h"
#include "core/tape.h"

namespace qgrad {
namespace {

constexpr int kHwioToOihw[] = {3, 2, 0, 1};
constexpr int kOihwToHwio[] = {2, 3, 1, 0};
constexpr int kSwap[] = {1, 0};

std::span<const int> order_to_file(Layout layout) {
  return layout == Layout::conv ? std::span<const int>(kHwioToOihw) : std::span<const int>(kSwap);
}

void check_rank(const Shape& shape, std::span<const int> order) {
  check(static_cast<size_t>(shape.rank()) == order.size(), "layout: expected {} dimensions, got {}", order.size(),
        shape);
}

Tensor transposed(const Tensor& x, std::span<const int> order) {
  check_rank(x.shape(), order);
  const Tape::Paused paused;
  return transpose(x, order);
}

}  // namespace

Tensor to_file_layout(const Tensor& ours, Layout layout) {
  return layout == Layout::plain ? ours.clone() : transposed(ours, order_to_file(layout));
}

Tensor from_file_layout(const Tensor& theirs, Layout layout) {
  if (layout == Layout::plain) return theirs.clone();
  return transposed(theirs, layout == Layout::conv ? std::span<const int>(kOihwToHwio) : std::span<const int>(kSwap));
}

Shape file_shape(const Shape& ours, Layout layout) {
  if (layout == Layout::plain) return ours;
  const std::span<const int> order = order_to_file(layout);
  check_rank(ours, order);
  Shape shape = ours;
  for (size_t i = 0; i < order.size(); ++i) shape.set(static_cast<int>(i), ours[order[i]]);
  return shape;
}

}  // namespace qgrad
