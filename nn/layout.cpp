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

std::span<const int> order_to_file(const Layout& layout) {
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

// Groups of a transposed convolution are a dimension of their own: [kh, kw, in/groups, groups, out/groups] here,
// [groups, in/groups, out/groups, kh, kw] there.
constexpr int kGroupsToFile[] = {3, 2, 4, 0, 1};
constexpr int kGroupsFromFile[] = {3, 4, 1, 0, 2};

void check_groups(const Shape& shape, int channels, const Layout& layout) {
  check(shape.rank() == 4 && shape[channels] % layout.groups == 0,
        "layout: expected the weight of a transposed convolution in {} groups, got {}", layout.groups, shape);
}

}  // namespace

Tensor to_file_layout(const Tensor& ours, const Layout& layout) {
  if (layout == Layout::plain) return ours.clone();
  if (layout.order != Layout::Order::transposed_conv) return transposed(ours, order_to_file(layout));
  const Shape theirs = file_shape(ours.shape(), layout), &s = ours.shape();
  return transposed(ours.reshaped({s[0], s[1], s[2], layout.groups, theirs[1]}), kGroupsToFile).reshaped(theirs);
}

Tensor from_file_layout(const Tensor& theirs, const Layout& layout) {
  if (layout == Layout::plain) return theirs.clone();
  if (layout.order != Layout::Order::transposed_conv)
    return transposed(theirs, layout == Layout::conv ? std::span<const int>(kOihwToHwio) : std::span<const int>(kSwap));
  const Shape& s = theirs.shape();
  check_groups(s, 0, layout);
  const int64_t in = s[0] / layout.groups;
  return transposed(theirs.reshaped({layout.groups, in, s[1], s[2], s[3]}), kGroupsFromFile)
      .reshaped({s[2], s[3], in, layout.groups * s[1]});
}

Shape file_shape(const Shape& ours, const Layout& layout) {
  if (layout == Layout::plain) return ours;
  if (layout.order == Layout::Order::transposed_conv) {
    check_groups(ours, 3, layout);
    return {ours[2] * layout.groups, ours[3] / layout.groups, ours[0], ours[1]};
  }
  const std::span<const int> order = order_to_file(layout);
  check_rank(ours, order);
  Shape shape = ours;
  for (size_t i = 0; i < order.size(); ++i) shape.set(static_cast<int>(i), ours[order[i]]);
  return shape;
}

}  // namespace qgrad
