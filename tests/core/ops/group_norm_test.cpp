// Group and layer norms against their definition in double, and their gradients against differences.
#include <cmath>
#include <vector>

#include "core/ops.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// x [n, places, groups, size] around `offset`; what is normalised over places and size.
std::vector<double> normalised(const Tensor& x, int64_t n, int64_t places, int64_t groups, int64_t size, double eps) {
  std::vector<double> y(x.data().size());
  const auto at = [&](int64_t i, int64_t p, int64_t g, int64_t k) {
    return static_cast<size_t>(((i * places + p) * groups + g) * size + k);
  };
  for (int64_t i = 0; i < n; ++i)
    for (int64_t g = 0; g < groups; ++g) {
      double sum = 0, squares = 0;
      const auto each = [&](auto&& fn) {
        for (int64_t p = 0; p < places; ++p)
          for (int64_t k = 0; k < size; ++k) fn(at(i, p, g, k));
      };
      each([&](size_t j) { sum += double{x.data()[j]}; });
      const auto count = static_cast<double>(places * size);
      each([&](size_t j) { squares += std::pow(double{x.data()[j]} - sum / count, 2); });
      each([&](size_t j) { y[j] = (double{x.data()[j]} - sum / count) / std::sqrt(squares / count + eps); });
    }
  return y;
}

void check_close(const Tensor& y, const std::vector<double>& expected, double tolerance) {
  double worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) worst = std::max(worst, std::fabs(double{y.data()[i]} - expected[i]));
  CHECK(worst <= tolerance);
}

}  // namespace

TEST_CASE("group norms normalise each group of channels of each example") {
  const auto [places, groups, size] = GENERATE(table<int, int, int>(
      {{1, 1, 7}, {1, 3, 5}, {6, 1, 5}, {6, 2, 4}, {35, 3, 3}, {35, 16, 1}, {1, 4, 1}, {500, 4, 8}, {1, 1, 3000}}));
  const float offset = GENERATE(0.0f, 100.0f);
  CAPTURE(places, groups, size, offset);
  const Tensor x = add_scalar(normal_tensor({3, places, groups * size}, 1), offset);
  const Tensor y = group_norm(x, groups, {}, {}, 1e-5f);
  check_close(y, normalised(x, 3, places, groups, size, 1e-5), offset == 0 ? 2e-6 : 4e-5);
}

TEST_CASE("a group norm's factors and biases belong to channels, a layer norm's to positions") {
  const Tensor x = normal_tensor({2, 3, 4}, 1), gamma = normal_tensor({4}, 2), beta = normal_tensor({4}, 3);
  const Tensor plain = group_norm(x, 2, {}, {}, 1e-5f);
  const Tensor expected = add(mul(plain, gamma), beta), y = group_norm(x, 2, gamma, beta, 1e-5f);
  check_close(y, {expected.data().begin(), expected.data().end()}, 1e-6);
  const Tensor weight = normal_tensor({3, 4}, 4), bias = normal_tensor({3, 4}, 5);
  const Tensor whole = add(mul(layer_norm(x, {3, 4}, {}, {}, 1e-5f), weight), bias);
  check_close(layer_norm(x, {3, 4}, weight, bias, 1e-5f), {whole.data().begin(), whole.data().end()}, 1e-6);
  check_close(layer_norm(x, {4}, {}, {}, 1e-5f), normalised(x, 6, 1, 1, 4, 1e-5), 1e-6);
}

TEST_CASE("norms refuse shapes that do not fit") {
  const Tensor x = Tensor::zeros({2, 3, 4});
  CHECK(error_of([&] { group_norm(x, 3, {}, {}, 1e-5f); }) ==
        "group_norm: expected [N,..,C] with channels of 3 equal groups, got [2,3,4]");
  CHECK(error_of([&] { layer_norm(x, {3}, {}, {}, 1e-5f); }) ==
        "layer_norm: expected the last dimensions to be [3], got [2,3,4]");
  CHECK(error_of([&] { layer_norm(x, {4}, Tensor::zeros({3}), {}, 1e-5f); }) ==
        "layer_norm: expected parameters [4], got [3]");
}

TEST_CASE("gradients of group and layer norms are right") {
  const Tensor x = normal_tensor({3, 2, 3, 6}, 1), gamma = uniform_tensor({6}, 2, 0.5f, 2.0f),
               beta = normal_tensor({6}, 3), none;
  for (const int64_t groups : {1, 2, 6}) {
    CHECK(gradcheck([=](Inputs i) { return group_norm(i[0], groups, i[1], i[2], 1e-3f); }, {x, gamma, beta}) == "");
    CHECK(gradcheck([=](Inputs i) { return group_norm(i[0], groups, none, none, 1e-3f); }, {x}) == "");
  }
  const Tensor weight = uniform_tensor({3, 6}, 4, 0.5f, 2.0f), bias = normal_tensor({3, 6}, 5);
  CHECK(gradcheck([](Inputs i) { return layer_norm(i[0], {3, 6}, i[1], i[2], 1e-3f); }, {x, weight, bias}) == "");
  CHECK(gradcheck([&](Inputs i) { return layer_norm(i[0], {6}, i[1], none, 1e-3f); }, {x, gamma}) == "");
  CHECK(gradcheck([&](Inputs i) { return layer_norm(i[0], {6}, none, i[1], 1e-3f); },
                  {normal_tensor({40, 6}, 6), beta}) == "");
}
