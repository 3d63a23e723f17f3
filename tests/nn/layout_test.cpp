// Conversions between our layouts and files'.
#include "nn/layout.h"

#include <algorithm>

#include "core/error.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

// 0, 1, 2, ..
Tensor counting(const Shape& shape) {
  Tensor t = Tensor::empty(shape);
  float next = 0;
  for (float& value : t.mutable_data()) value = next++;
  return t;
}

float at(const Tensor& t, std::initializer_list<int64_t> index) {
  int64_t flat = 0;
  int i = 0;
  for (const int64_t position : index) flat = flat * t.dim(i++) + position;
  return t.data()[static_cast<size_t>(flat)];
}

}  // namespace

TEST_CASE("a convolution weight of a file moves its output channel last") {
  const Tensor oihw = counting({2, 3, 4, 5});
  const Tensor hwio = from_file_layout(oihw, Layout::conv);
  REQUIRE(hwio.shape() == Shape{4, 5, 3, 2});
  CHECK(at(hwio, {3, 1, 2, 1}) == at(oihw, {1, 2, 3, 1}));
  CHECK(at(hwio, {0, 4, 0, 1}) == at(oihw, {1, 0, 0, 4}));
}

TEST_CASE("a layout's conversion to a file and back gives the same numbers") {
  for (const auto& [layout, shape] :
       {std::pair(Layout::conv, Shape{3, 2, 5, 4}), std::pair(Layout::linear, Shape{4, 7}),
        std::pair(Layout::plain, Shape{6}), std::pair(Layout::transposed_conv(1), Shape{3, 2, 5, 4}),
        std::pair(Layout::transposed_conv(2), Shape{3, 2, 5, 4})}) {
    const Tensor ours = counting(shape);
    const Tensor theirs = to_file_layout(ours, layout);
    CHECK(theirs.shape() == file_shape(shape, layout));
    const Tensor back = from_file_layout(theirs, layout);
    CHECK(back.shape() == shape);
    CHECK(std::ranges::equal(back.data(), ours.data()));
  }
}

TEST_CASE("a transposed convolution's weight of a file moves its output channels last, group by group") {
  const Tensor theirs = counting({6, 2, 4, 5});  // 6 channels become 3 groups of 2
  const Tensor ours = from_file_layout(theirs, Layout::transposed_conv(3));
  REQUIRE(ours.shape() == Shape{4, 5, 2, 6});
  // Input channel 1 of group 2 is 5; output channel 1 of group 2 is 5 too.
  CHECK(at(ours, {3, 2, 1, 5}) == at(theirs, {5, 1, 3, 2}));
  CHECK(at(ours, {0, 4, 0, 2}) == at(theirs, {2, 0, 0, 4}));
  CHECK_THROWS_AS(from_file_layout(theirs, Layout::transposed_conv(4)), Error);
}

TEST_CASE("a weight of the wrong rank is no convolution weight") {
  CHECK_THROWS_AS(from_file_layout(counting({3, 3}), Layout::conv), Error);
}
