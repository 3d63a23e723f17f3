// Reductions of several dimensions against sums taken position by position.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/ops.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

struct Reduced {
  std::vector<double> sum, largest, smallest;
  double count = 0;
};

// Over the dimensions that are marked, walked by index.
Reduced walked(const Tensor& x, const std::vector<int>& dims) {
  Shape kept = x.shape();
  for (const int d : dims) kept.set(d, 1);
  const auto n = static_cast<size_t>(kept.numel());
  Reduced r{std::vector<double>(n), std::vector<double>(n, -1e30), std::vector<double>(n, 1e30),
            static_cast<double>(x.numel()) / static_cast<double>(n)};
  for (int64_t i = 0; i < x.numel(); ++i) {
    int64_t rest = i, at = 0, step = 1;
    for (int d = x.rank() - 1; d >= 0; --d) {
      at += kept[d] == 1 ? 0 : rest % x.dim(d) * step;
      rest /= x.dim(d);
      step *= kept[d];
    }
    const double value = x.data()[static_cast<size_t>(i)];
    const auto place = static_cast<size_t>(at);
    r.sum[place] += value;
    r.largest[place] = std::max(r.largest[place], value);
    r.smallest[place] = std::min(r.smallest[place], value);
  }
  return r;
}

}  // namespace

TEST_CASE("any set of dimensions is reduced") {
  const Tensor x = normal_tensor({2, 3, 1, 4, 5, 2}, 1);
  for (int set = 1; set < 64; ++set) {
    std::vector<int> dims;
    Shape kept = x.shape();
    for (int d = 0; d < 6; ++d)
      if (set >> d & 1) dims.push_back(d % 2 ? d : d - 6), kept.set(d, 1);
    const Reduced expected = walked(x, dims);
    CAPTURE(dims);
    REQUIRE(sum(x, dims, true).shape() == kept);
    REQUIRE(sum(x, dims, false).rank() == 6 - static_cast<int>(dims.size()));
    const Tensor total = sum(x, dims, true), average = mean(x, dims, false), largest = max(x, dims, true),
                 smallest = min(x, dims, false);
    for (size_t i = 0; i < expected.sum.size(); ++i) {
      REQUIRE(total.data()[i] == Approx(expected.sum[i]).margin(1e-5));
      REQUIRE(average.data()[i] == Approx(expected.sum[i] / expected.count).margin(1e-6));
      REQUIRE(double{largest.data()[i]} == expected.largest[i]);
      REQUIRE(double{smallest.data()[i]} == expected.smallest[i]);
    }
  }
  CHECK(sum(x, std::vector<int>{}, false).shape() == Shape{});
}

TEST_CASE("equal extremes of several dimensions share the gradient") {
  Tensor x = Tensor::from({2, 4}, std::vector<float>{1, 5, 5, 2, 3, 5, 0, 1});
  x.set_requires_grad(true);
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = max(x, std::vector<int>{0, 1}, false);
  }
  tape.backward(loss);
  const float third = 1.0f / 3;
  CHECK(bits(x.grad()) == bits(std::vector<float>{0, third, third, 0, 0, third, 0, 0}));
}

TEST_CASE("reductions refuse what has no answer") {
  const Tensor x = Tensor::zeros({2, 3});
  CHECK(error_of([&] {
          sum(x, std::vector<int>{1, -1}, true);
        }) == "sum: dimension 1 of [2,3] stands twice among those to reduce");
  CHECK(error_of([] {
          mean(Tensor::zeros({0, 3}), std::vector<int>{0}, true);
        }) == "mean: the mean of no elements, shape [0,3]");
  CHECK(std::isnan(max(Tensor::from({2}, std::vector<float>{std::nanf(""), 1}), std::vector<int>{0}, true).item()));
}

TEST_CASE("of no numbers the sum is zero, and the extremes are infinite") {
  const Tensor none = Tensor::zeros({2, 0, 3});
  const std::vector<int> middle{1};
  CHECK(values(sum(none, middle, false)) == std::vector<float>(6, 0));
  CHECK(values(max(none, middle, false)) == std::vector<float>(6, -std::numeric_limits<float>::infinity()));
  CHECK(values(min(none, middle, true)) == std::vector<float>(6, std::numeric_limits<float>::infinity()));
}

TEST_CASE("gradients of reductions over several dimensions are right") {
  const Tensor x = normal_tensor({2, 3, 4}, 1);
  Tensor apart = Tensor::empty({2, 3, 4});
  for (size_t i = 0; i < 24; ++i) apart.mutable_data()[i] = static_cast<float>(i * 7 % 24) * 0.3f - 3;
  const auto dims = GENERATE(std::vector<int>{0, 2}, std::vector<int>{1, 2}, std::vector<int>{1}, std::vector<int>{});
  const bool keep = GENERATE(false, true);
  CHECK(gradcheck([=](Inputs i) { return sum(i[0], dims, keep); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return mean(i[0], dims, keep); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return max(i[0], dims, keep); }, {apart}) == "");
  CHECK(gradcheck([=](Inputs i) { return min(i[0], dims, keep); }, {apart}) == "");
}
