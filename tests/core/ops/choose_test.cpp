// Slices with steps, chosen places, padding and expanding against NumPy's rules.
#include <cmath>
#include <vector>

#include "core/ops.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

Tensor row(std::vector<float> values) { return Tensor::from({static_cast<int64_t>(values.size())}, values); }
using Row = std::vector<float>;

Tensor padded_row(const Tensor& x, int64_t before, int64_t after, PadMode mode, float value = 0) {
  return pad(x, std::vector{before}, std::vector{after}, mode, value);
}

}  // namespace

TEST_CASE("slices go as Python's do, in steps and backwards") {
  const Tensor x = row({0, 1, 2, 3, 4, 5, 6});
  CHECK(values(slice(x, 0, 1, 6, 2)) == Row{1, 3, 5});
  CHECK(values(slice(x, 0, {}, {}, 3)) == Row{0, 3, 6});
  CHECK(values(slice(x, 0, {}, {}, -1)) == Row{6, 5, 4, 3, 2, 1, 0});
  CHECK(values(slice(x, -1, 5, 1, -2)) == Row{5, 3});
  CHECK(values(slice(x, 0, -3, -1, 1)) == Row{4, 5});
  CHECK(values(slice(x, 0, 2, {}, -1)) == Row{2, 1, 0});
  CHECK(values(slice(x, 0, 100, -100, -3)) == Row{6, 3, 0});
  CHECK(values(slice(x, 0, 5, 2, 1)).empty());
  CHECK(values(slice(x, 0, 0, {}, int64_t{1} << 62)) == Row{0});
  CHECK(error_of([&] { slice(x, 0, 0, 1, 0); }) == "slice: a step of 0");
}

TEST_CASE("places of a dimension are chosen in any order, more than once, from the end") {
  const Tensor x = Tensor::from({2, 3}, Row{1, 2, 3, 4, 5, 6});
  CHECK(values(index_select(x, 1, std::vector<int64_t>{2, 0, 2, -2})) == Row{3, 1, 3, 2, 6, 4, 6, 5});
  CHECK(values(index_select(x, -2, std::vector<int64_t>{1})) == Row{4, 5, 6});
  CHECK(index_select(x, 0, std::vector<int64_t>{}).shape() == Shape{0, 3});
  CHECK(error_of([&] { index_select(x, 1, std::vector<int64_t>{3}); }) ==
        "index_select: there is no place 3 in dimension 1 of shape [2,3]");
}

TEST_CASE("padding repeats, mirrors, wraps and cuts off as NumPy's") {
  const Tensor x = row({1, 2, 3});
  CHECK(values(padded_row(x, 2, 1, PadMode::constant, 7)) == Row{7, 7, 1, 2, 3, 7});
  CHECK(values(padded_row(x, 2, 1, PadMode::edge)) == Row{1, 1, 1, 2, 3, 3});
  CHECK(values(padded_row(x, 2, 1, PadMode::reflect)) == Row{3, 2, 1, 2, 3, 2});
  CHECK(values(padded_row(x, 5, 4, PadMode::reflect)) == Row{2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3});
  CHECK(values(padded_row(x, 4, 2, PadMode::wrap)) == Row{3, 1, 2, 3, 1, 2, 3, 1, 2});
  CHECK(values(padded_row(x, -1, 1, PadMode::constant)) == Row{2, 3, 0});
  CHECK(values(padded_row(x, 1, -2, PadMode::edge)) == Row{1, 1});
  CHECK(values(padded_row(row({4}), 2, 0, PadMode::reflect)) == Row{4, 4, 4});
  CHECK(error_of([&] { padded_row(x, -2, -2, PadMode::constant); }) ==
        "pad: -2 and -2 leave nothing of dimension 0 of shape [3]");
  CHECK(error_of([&] {
          pad(x, std::vector<int64_t>{1, 1}, std::vector<int64_t>{1}, PadMode::edge, 0);
        }) == "pad: 2 and 1 amounts for shape [3]");
  CHECK(error_of([] { padded_row(Tensor::zeros({0}), 1, 0, PadMode::edge); }) ==
        "pad: there is nothing to repeat in dimension 0 of shape [0]");
}

TEST_CASE("expanding repeats along any dimensions") {
  const Tensor x = Tensor::from({2, 1}, Row{1, -0.0f});
  CHECK(values(expand(x, {2, 2, 3})) == Row{1, 1, 1, -0.0f, -0.0f, -0.0f, 1, 1, 1, -0.0f, -0.0f, -0.0f});
  CHECK(std::signbit(expand(x, {1, 2, 2}).data()[2]));
  CHECK(values(expand(Tensor::scalar(3), {1, 2, 1})) == Row{3, 3});
  CHECK(expand(x, {2, 0}).shape() == Shape{2, 0});
  CHECK(error_of([&] { expand(x, {2}); }) == "expand: [2,1] does not broadcast to [2]");
  CHECK(error_of([&] { expand(x, {3, 4}); }) == "expand: [2,1] does not broadcast to [3,4]");
}

TEST_CASE("gradients of slices, choices, padding and expanding are right") {
  const Tensor x = normal_tensor({2, 3, 4}, 1);
  const int dim = GENERATE(0, 1, -1);
  for (const int64_t step : {2, -1, -2})
    CHECK(gradcheck([=](Inputs i) { return slice(i[0], dim, {}, {}, step); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return index_select(i[0], dim, std::vector<int64_t>{1, 0, 1, -1}); }, {x}) == "");
  for (const PadMode mode : {PadMode::constant, PadMode::edge, PadMode::reflect, PadMode::wrap})
    CHECK(gradcheck(
              [=](Inputs i) {
                return pad(i[0], std::vector<int64_t>{1, -1, 2}, std::vector<int64_t>{0, 2, 3}, mode, 2);
              },
              {x}) == "");
  CHECK(gradcheck([](Inputs i) { return expand(i[0], {2, 3, 4, 5}); }, {normal_tensor({3, 1, 5}, 2)}) == "");
}
