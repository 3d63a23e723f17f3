// conv2d and its gradients against their definition, written out in double, and against differences.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/kernels/winograd/convolution.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/random.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/gradcheck.h"
#include "support/random_cases.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

struct Case {
  Shape x, weight;
  Conv2dOptions options;
};

struct Reference {
  std::vector<double> y, dx, dweight, dbias;
};

// y, and the gradients for a given dy, straight from the definition.
Reference reference(const Case& c, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& dy,
                    const Shape& sy) {
  const Conv2dOptions& o = c.options;
  Reference r;
  r.y.assign(static_cast<size_t>(sy.numel()), 0);
  r.dx.assign(static_cast<size_t>(c.x.numel()), 0);
  r.dweight.assign(static_cast<size_t>(c.weight.numel()), 0);
  r.dbias.assign(static_cast<size_t>(sy[3]), 0);
  const float *from_x = x.data().data(), *from_w = w.data().data();
  double *dx = r.dx.data(), *dweight = r.dweight.data();
  const int64_t in_group = c.weight[2], out_group = sy[3] / o.groups;
  for (int64_t n = 0; n < sy[0]; ++n)
    for (int64_t row = 0; row < sy[1]; ++row)
      for (int64_t column = 0; column < sy[2]; ++column)
        for (int64_t out = 0; out < sy[3]; ++out) {
          const auto at_y = static_cast<size_t>(((n * sy[1] + row) * sy[2] + column) * sy[3] + out);
          const double gradient = dy.data()[at_y];
          double sum = bias.data()[static_cast<size_t>(out)];
          r.dbias[static_cast<size_t>(out)] += gradient;
          for (int64_t kh = 0; kh < c.weight[0]; ++kh)
            for (int64_t kw = 0; kw < c.weight[1]; ++kw)
              for (int64_t i = 0; i < in_group; ++i) {
                const int64_t ih = row * o.stride_h - o.padding_h + kh * o.dilation_h;
                const int64_t iw = column * o.stride_w - o.padding_w + kw * o.dilation_w;
                if (ih < 0 || ih >= c.x[1] || iw < 0 || iw >= c.x[2]) continue;
                const int64_t channel = out / out_group * in_group + i;
                const auto at_x = static_cast<size_t>(((n * c.x[1] + ih) * c.x[2] + iw) * c.x[3] + channel);
                const auto at_w = static_cast<size_t>(((kh * c.weight[1] + kw) * in_group + i) * sy[3] + out);
                sum += double{from_x[at_x]} * double{from_w[at_w]};
                dx[at_x] += gradient * double{from_w[at_w]};
                dweight[at_w] += gradient * double{from_x[at_x]};
              }
          r.y[at_y] = sum;
        }
  return r;
}

std::vector<double> doubles(const Tensor& t) { return {t.data().begin(), t.data().end()}; }

struct Outcome {
  Tensor y, dy, dx, dweight, dbias;
};

// Forward, and backward of a gradient dy drawn by `draw`.
template <class Draw>
Outcome run(const Case& c, Draw draw) {
  Tensor x = draw(c.x, 1), weight = draw(c.weight, 2), bias = draw(Shape{c.weight[3]}, 3);
  for (Tensor* t : {&x, &weight, &bias}) t->set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  Outcome r;
  r.y = conv2d(x, weight, bias, c.options);
  r.dy = draw(r.y.shape(), 4);
  tape.backward(record("probe", Tensor::scalar(0), {r.y}, [dy = r.dy](Tensor, Grads& dx) { dx.add(0, dy); }));
  r.dx = x.grad(), r.dweight = weight.grad(), r.dbias = bias.grad();
  return r;
}

Case random_case(uint64_t seed) {
  RandomStream random(seed, "conv2d");
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  Conv2dOptions o{from(1, 3), from(1, 3), from(0, 3), from(0, 3), from(1, 2), from(1, 3)};
  if (from(0, 1)) o.padding_end_h = from(0, 3), o.padding_end_w = from(0, 3);
  const int64_t kernel_h = from(1, 4), kernel_w = from(1, 4);
  o.groups = from(1, 3) == 1 ? from(2, 12) : 1;
  const bool many = seed % 3 == 0;  // channels, as Winograd's method wants
  if (many && from(0, 2) > 0) o.groups = 1;
  const int64_t in_group = o.groups > 4 ? 1 : many ? from(15, 34) : from(1, 9);
  const int64_t out = o.groups * (o.groups > 4 ? 1 : many ? from(15, 50) : from(1, 20));
  const Shape x{from(1, 3), (kernel_h - 1) * o.dilation_h + from(1, 7), (kernel_w - 1) * o.dilation_w + from(1, 9),
                o.groups * in_group};
  return {x, Shape{kernel_h, kernel_w, in_group, out}, o};
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const Shape& x, const Shape& weight, const Conv2dOptions& options) {
    all.push_back({x, weight, options});
  };
  const auto square = [](int64_t stride, int64_t padding, int64_t dilation = 1, int64_t groups = 1) {
    return Conv2dOptions{stride, stride, padding, padding, dilation, dilation, groups};
  };
  // ResNet-20's layers.
  add({1, 32, 32, 3}, {3, 3, 3, 16}, square(1, 1));
  add({1, 32, 32, 16}, {3, 3, 16, 16}, square(1, 1));
  add({1, 32, 32, 16}, {3, 3, 16, 32}, square(2, 1));
  add({1, 32, 32, 16}, {1, 1, 16, 32}, square(2, 0));
  add({1, 16, 16, 32}, {3, 3, 32, 32}, square(1, 1));
  add({1, 16, 16, 32}, {3, 3, 32, 64}, square(2, 1));
  add({3, 8, 8, 64}, {3, 3, 64, 64}, square(1, 1));
  add({1, 8, 8, 64}, {3, 3, 64, 64}, square(1, 1));
  // Odd sizes, tails of channels and pixels, more than one panel.
  add({3, 7, 5, 5}, {3, 3, 5, 7}, square(1, 1));
  add({1, 9, 13, 7}, {3, 3, 7, 17}, square(2, 1));
  add({1, 6, 11, 1}, {5, 3, 1, 33}, {2, 1, 2, 0, 1, 1, 1});
  add({2, 1, 1, 19}, {1, 1, 19, 10}, square(1, 0));
  add({1, 4, 23, 8}, {1, 1, 8, 8}, square(1, 0));
  add({1, 3, 3, 4}, {3, 3, 4, 24}, square(1, 0));
  add({1, 5, 5, 4}, {1, 1, 4, 20}, square(1, 2));
  add({1, 8, 8, 3}, {2, 2, 3, 5}, square(2, 0));
  add({1, 10, 9, 3}, {2, 4, 3, 16}, square(3, 1));
  add({1, 12, 12, 2}, {7, 7, 2, 16}, square(2, 3));
  // Dilation, alone and with strides that share a factor with it or do not.
  add({2, 11, 12, 6}, {3, 3, 6, 18}, square(1, 2, 2));
  add({1, 13, 11, 5}, {3, 2, 5, 6}, square(2, 2, 2));
  add({1, 13, 11, 5}, {3, 3, 5, 6}, square(2, 3, 3));
  add({1, 17, 15, 3}, {3, 3, 3, 4}, square(4, 2, 2));
  add({1, 9, 14, 3}, {3, 3, 3, 4}, {1, 3, 1, 4, 3, 2, 1});
  // More or less padding at the end than at the start, for both kinds of kernels.
  const auto to = [](Conv2dOptions options, int64_t end_h, int64_t end_w) {
    options.padding_end_h = end_h, options.padding_end_w = end_w;
    return options;
  };
  add({2, 8, 8, 3}, {3, 3, 3, 17}, to(square(2, 0), 1, 1));
  add({1, 7, 9, 4}, {3, 4, 4, 5}, to(square(1, 2), 0, 3));
  add({1, 9, 8, 4}, {3, 3, 4, 5}, to(square(2, 1, 2), 3, 0));
  add({2, 8, 8, 19}, {3, 3, 1, 19}, to(square(2, 0, 1, 19), 1, 1));
  add({1, 7, 9, 8}, {3, 4, 1, 8}, to(square(1, 2, 1, 8), 0, 3));
  // Groups, depthwise, depthwise with a channel multiplier.
  add({1, 7, 9, 12}, {3, 3, 4, 18}, square(1, 1, 1, 3));
  add({2, 8, 8, 32}, {3, 3, 16, 32}, square(2, 1, 1, 2));
  add({1, 7, 9, 8}, {3, 3, 1, 16}, square(1, 1, 1, 8));
  add({2, 9, 8, 37}, {3, 3, 1, 37}, square(1, 1, 1, 37));
  add({1, 16, 16, 64}, {3, 3, 1, 64}, square(2, 1, 1, 64));
  add({1, 11, 10, 9}, {3, 5, 1, 9}, square(2, 2, 2, 9));
  // What trainings compute by Winograd's method: several images at a time, cut tiles, channels in parts.
  add({20, 8, 8, 16}, {3, 3, 16, 72}, square(1, 0));
  add({5, 13, 6, 17}, {3, 3, 17, 33}, square(1, 2));
  add({2, 9, 14, 100}, {3, 3, 100, 130}, to(square(1, 1), 0, 2));
  add({0, 8, 8, 16}, {3, 3, 16, 16}, square(1, 1));
  // One phase of an input gradient alone, which is not all rows of an image.
  add({3, 1, 16, 16}, {5, 3, 16, 16}, {2, 1, 2, 1, 1, 1, 1});
  add({3, 1, 16, 16}, {3, 3, 16, 16}, {2, 1, 2, 1, 2, 1, 1});
  add({3, 16, 1, 16}, {3, 5, 16, 16}, {1, 2, 1, 2, 1, 1, 1});
  for (uint64_t seed = 0; seed < random_cases(60); ++seed) all.push_back(random_case(seed));
  return all;
}

// Whether a training may compute images of these shapes by Winograd's method, which is not exact on integers.
bool may_round(const Case& c, const Shape& image) {
  const Conv2dOptions& o = c.options;
  return winograd_suits({.in = c.x[3],
                         .out_h = image[1],
                         .out_w = image[2],
                         .out = c.weight[3],
                         .kernel_h = c.weight[0],
                         .kernel_w = c.weight[1],
                         .stride_h = o.stride_h,
                         .stride_w = o.stride_w,
                         .dilation_h = o.dilation_h,
                         .dilation_w = o.dilation_w,
                         .groups = o.groups});
}

// Then its input gradient is a convolution of stride 1, of whatever window.
bool strides_over_one_pixel(const Case& c) {
  return (c.options.stride_h > 1 && c.x[1] == 1) || (c.options.stride_w > 1 && c.x[2] == 1);
}

// The largest difference, in parts of the root of the mean square of what was expected.
double distance(const std::vector<double>& got, const std::vector<double>& expected) {
  double largest = 0, squares = 0;
  for (size_t i = 0; i < got.size(); ++i)
    largest = std::max(largest, std::fabs(got[i] - expected[i])), squares += expected[i] * expected[i];
  return largest == 0 ? 0 : largest / std::sqrt(squares / static_cast<double>(got.size()));
}

}  // namespace

TEST_CASE("conv2d and its gradients equal their definition on integers, exactly where sums are direct") {
  for (const Case& c : cases()) {
    CAPTURE(to_string(c.x), to_string(c.weight), c.options.stride_h, c.options.stride_w, c.options.padding_h,
            c.options.padding_w, c.options.dilation_h, c.options.dilation_w, c.options.groups);
    const Tensor x = integer_tensor(c.x, 1), w = integer_tensor(c.weight, 2), bias = integer_tensor({c.weight[3]}, 3);
    const Outcome got = run(c, integer_tensor);
    const Reference expected = reference(c, x, w, bias, got.dy, got.y.shape());
    CHECK(doubles(conv2d(x, w, bias, c.options)) == expected.y);
    CHECK(doubles(got.dbias) == expected.dbias);
    const double of_y = may_round(c, got.y.shape()) ? 1e-5 : 0;
    const double of_x = may_round(c, c.x) || strides_over_one_pixel(c) ? 1e-5 : 0;
    CHECK(distance(doubles(got.y), expected.y) <= of_y);
    CHECK(distance(doubles(got.dx), expected.dx) <= of_x);
    CHECK(distance(doubles(got.dweight), expected.dweight) <= of_y);
  }
}

TEST_CASE("conv2d and its gradients have the same bits on any number of threads") {
  const auto draw = [](const Shape& shape, uint64_t seed) { return normal_tensor(shape, seed); };
  const auto results = [&](const Case& c) {
    const Outcome r = run(c, draw);
    return std::vector{bits(r.y), bits(r.dx), bits(r.dweight), bits(r.dbias)};
  };
  const int before = num_threads();
  for (const Case& c : cases()) {
    CAPTURE(to_string(c.x), to_string(c.weight));
    set_num_threads(1);
    const auto expected = results(c);
    for (const int threads : {2, 3}) {
      set_num_threads(threads);
      CHECK(results(c) == expected);
    }
  }
  set_num_threads(before);
}

TEST_CASE("gradients of conv2d") {
  const auto convolution = [](const Conv2dOptions& options) {
    return [options](Inputs x) { return conv2d(x[0], x[1], x.size() > 2 ? x[2] : Tensor(), options); };
  };
  const auto check = [&](const Shape& x, const Shape& weight, const Conv2dOptions& options) {
    CAPTURE(to_string(x), to_string(weight));
    CHECK(gradcheck(convolution(options),
                    {normal_tensor(x, 1), normal_tensor(weight, 2), normal_tensor({weight[3]}, 3)}) == "");
  };
  check({2, 5, 6, 3}, {3, 3, 3, 4}, {.padding_h = 1, .padding_w = 1});
  check({1, 6, 7, 2}, {3, 3, 2, 17}, {.stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1});
  check({1, 6, 6, 3}, {1, 1, 3, 5}, {.stride_h = 2, .stride_w = 2});
  check({1, 7, 8, 2}, {3, 2, 2, 3}, {.stride_h = 2, .padding_h = 2, .dilation_h = 2, .dilation_w = 3});
  check({1, 5, 5, 6}, {3, 3, 2, 9}, {.padding_h = 1, .padding_w = 1, .groups = 3});
  check({2, 5, 4, 5}, {3, 3, 1, 5}, {.stride_w = 2, .padding_h = 1, .padding_w = 1, .groups = 5});
  check({2, 7, 5, 16}, {3, 3, 16, 17}, {.padding_h = 1, .padding_w = 1});  // by Winograd's method
  CHECK(gradcheck(convolution({}), {normal_tensor({1, 4, 4, 3}, 1), normal_tensor({2, 2, 3, 2}, 2)}) == "");
}

TEST_CASE("conv2d refuses shapes that do not fit, naming both") {
  const auto message = [](const Shape& x, const Shape& w, const Conv2dOptions& o) -> std::string {
    try {
      conv2d(Tensor::zeros(x), Tensor::zeros(w), {}, o);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  CHECK(message({8, 32, 32, 3}, {3, 3, 16, 32}, {}) ==
        "conv2d: weight [3,3,16,32] wants 16 input channels, input has 3 ([8,32,32,3])");
  CHECK(message({1, 2, 9, 3}, {3, 3, 3, 4}, {}).find("does not fit into input [1,2,9,3]") != std::string::npos);
  CHECK(message({1, 9, 9, 4}, {3, 3, 2, 5}, {.groups = 2}).find("not a multiple of 2 groups") != std::string::npos);
  CHECK_THROWS_AS(conv2d(Tensor::zeros({1, 4, 4, 2}), Tensor::zeros({1, 1, 2, 3}), Tensor::zeros({2}), {}), Error);
}
