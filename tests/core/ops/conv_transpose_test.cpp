// conv_transpose2d against its definition, and its gradients against differences.
#include <vector>

#include "core/ops.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/gradcheck.h"
#include "support/random_cases.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

struct TransposedCase {
  Shape x, weight;
  ConvTranspose2dOptions options;
};

ConvTranspose2dOptions with(Conv2dOptions options, int64_t output_padding_h = 0, int64_t output_padding_w = 0) {
  return {options, output_padding_h, output_padding_w};
}

TransposedCase random_transposed(uint64_t seed) {
  RandomStream random(seed, "conv_transpose2d");
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  const int64_t kernel_h = from(1, 4), kernel_w = from(1, 4);
  Conv2dOptions o{from(1, 3), from(1, 3), from(0, kernel_h / 2), from(0, kernel_w / 2), from(1, 2), from(1, 2)};
  o.groups = from(1, 3);
  const int64_t in_group = from(1, 6);
  return {Shape{from(1, 2), from(3, 6), from(3, 6), o.groups * in_group},
          Shape{kernel_h, kernel_w, in_group, o.groups * from(1, 9)},
          with(o, from(0, o.stride_h - 1), from(0, o.stride_w - 1))};
}

std::vector<TransposedCase> transposed_cases() {
  std::vector<TransposedCase> all{{{2, 3, 4, 5}, {3, 3, 5, 7}, with({})},
                                  {{1, 3, 4, 3}, {2, 2, 3, 17}, with({2, 2})},
                                  {{1, 5, 4, 16}, {4, 4, 16, 16}, with({2, 2, 1, 1})},
                                  {{1, 5, 4, 4}, {3, 3, 4, 6}, with({2, 2, 1, 1}, 1, 1)},
                                  {{2, 3, 3, 6}, {3, 2, 3, 8}, with({2, 3, 1, 0, 1, 2, 2}, 0, 2)},
                                  {{1, 4, 3, 8}, {3, 3, 1, 8}, with({2, 2, 1, 1, 1, 1, 8}, 1, 0)},
                                  {{1, 2, 5, 4}, {1, 1, 4, 3}, with({3, 3}, 2, 2)},
                                  {{1, 4, 4, 2}, {3, 3, 2, 3}, with({1, 1, 2, 2, 2, 2, 1, 0, 1})}};
  for (uint64_t seed = 0; seed < random_cases(40); ++seed) all.push_back(random_transposed(seed));
  return all;
}

// Every number of x puts its window of the weight onto y.
std::vector<double> scattered(const TransposedCase& c, const Tensor& x, const Tensor& w, const Tensor& bias,
                              const Shape& sy) {
  const ConvTranspose2dOptions& o = c.options;
  std::vector<double> y(static_cast<size_t>(sy.numel()));
  for (size_t i = 0; i < y.size(); ++i) y[i] = double{bias.data()[i % static_cast<size_t>(sy[3])]};
  const int64_t in_group = c.weight[2], out_group = c.weight[3] / o.groups;
  for (int64_t n = 0; n < c.x[0]; ++n)
    for (int64_t r = 0; r < c.x[1]; ++r)
      for (int64_t q = 0; q < c.x[2]; ++q)
        for (int64_t i = 0; i < c.x[3]; ++i)
          for (int64_t kh = 0; kh < c.weight[0]; ++kh)
            for (int64_t kw = 0; kw < c.weight[1]; ++kw)
              for (int64_t k = 0; k < out_group; ++k) {
                const int64_t row = r * o.stride_h - o.padding_h + kh * o.dilation_h;
                const int64_t column = q * o.stride_w - o.padding_w + kw * o.dilation_w;
                if (row < 0 || row >= sy[1] || column < 0 || column >= sy[2]) continue;
                const int64_t out = i / in_group * out_group + k;
                const float value = x.data()[static_cast<size_t>(((n * c.x[1] + r) * c.x[2] + q) * c.x[3] + i)];
                const float factor = w.data()[static_cast<size_t>(
                    ((kh * c.weight[1] + kw) * in_group + i % in_group) * c.weight[3] + out)];
                y[static_cast<size_t>(((n * sy[1] + row) * sy[2] + column) * sy[3] + out)] +=
                    double{value} * double{factor};
              }
  return y;
}

}  // namespace

TEST_CASE("conv_transpose2d equals its definition exactly on integers") {
  for (const TransposedCase& c : transposed_cases()) {
    CAPTURE(to_string(c.x), to_string(c.weight));
    const ConvTranspose2dOptions& o = c.options;
    const Tensor x = integer_tensor(c.x, 1), w = integer_tensor(c.weight, 2), bias = integer_tensor({c.weight[3]}, 3);
    const Tensor y = conv_transpose2d(x, w, bias, o);
    const Shape shape{c.x[0],
                      (c.x[1] - 1) * o.stride_h - o.padding_h - o.padding_end_h.value_or(o.padding_h) +
                          (c.weight[0] - 1) * o.dilation_h + 1 + o.output_padding_h,
                      (c.x[2] - 1) * o.stride_w - o.padding_w - o.padding_end_w.value_or(o.padding_w) +
                          (c.weight[1] - 1) * o.dilation_w + 1 + o.output_padding_w,
                      c.weight[3]};
    REQUIRE(y.shape() == shape);
    const std::vector<double> expected = scattered(c, x, w, bias, shape);
    for (size_t i = 0; i < expected.size(); ++i) REQUIRE(double{y.data()[i]} == expected[i]);
  }
}

TEST_CASE("gradients of conv_transpose2d are right") {
  for (const TransposedCase& c : transposed_cases()) {
    CAPTURE(to_string(c.x), to_string(c.weight));
    CHECK(gradcheck([&](Inputs i) { return conv_transpose2d(i[0], i[1], i[2], c.options); },
                    {normal_tensor(c.x, 1), normal_tensor(c.weight, 2), normal_tensor({c.weight[3]}, 3)}) == "");
  }
}

TEST_CASE("conv_transpose2d refuses shapes that do not fit") {
  const Tensor x = Tensor::zeros({1, 3, 3, 4}), w = Tensor::zeros({3, 3, 2, 6});
  CHECK(error_of([&] { conv_transpose2d(x, w, {}, {}); }) ==
        "conv_transpose2d: weight [3,3,2,6] in 1 groups wants 2 input channels and as many groups of output channels, "
        "input is [1,3,3,4]");
  CHECK(error_of([&] {
          conv_transpose2d(x, w, {}, with({1, 1, 3, 3, 1, 1, 2}));
        }) == "conv_transpose2d: padding leaves nothing of [1,3,3,4]");
  CHECK(error_of([&] {
          conv_transpose2d(x, w, {}, with({0, 1, 0, 0, 1, 1, 2}));
        }) == "conv_transpose2d: expected strides, dilations and groups from 1 to 1048576, got 0");
}
