// What the ops compute, against plain loops; and what they refuse.
#include "core/ops.h"

#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// The position of a broadcast operand's element for flat position i of the output.
size_t broadcast_index(int64_t i, const Shape& out, const Shape& operand) {
  int64_t index = 0, step = 1;
  for (int d = 1; d <= out.rank(); ++d) {
    const int64_t at = i % out[-d];
    i /= out[-d];
    if (d > operand.rank()) continue;
    if (operand[-d] != 1) index += at * step;
    step *= operand[-d];
  }
  return static_cast<size_t>(index);
}

Tensor counting(const Shape& shape) {
  Tensor t = Tensor::empty(shape);
  for (size_t i = 0; i < t.data().size(); ++i) t.mutable_data()[i] = static_cast<float>(i);
  return t;
}

}  // namespace

TEST_CASE("two-operand ops broadcast as NumPy does") {
  const auto shapes = GENERATE(table<Shape, Shape>({{{3, 4}, {3, 4}},
                                                    {{2, 3, 5}, {5}},
                                                    {{5}, {2, 3, 5}},
                                                    {{2, 3}, {}},
                                                    {{}, {}},
                                                    {{1}, {1, 1}},
                                                    {{2, 1, 4}, {1, 3, 1}},
                                                    {{2, 3, 1, 5}, {3, 4, 1}},
                                                    {{700, 1, 33}, {700, 2, 1}},
                                                    {{40000, 3}, {3}},
                                                    {{0, 3}, {3}},
                                                    {{2, 1, 3, 1, 2, 1}, {4, 1, 2, 1, 3}}}));
  const Shape &a = std::get<0>(shapes), &b = std::get<1>(shapes);
  const Tensor x = normal_tensor(a, 1), y = normal_tensor(b, 2);
  const Shape shape = broadcast(a, b);
  CAPTURE(to_string(a), to_string(b));
  const auto agrees = [&](const Tensor& result, float (*formula)(float, float)) {
    REQUIRE(result.shape() == shape);
    bool same = true;
    for (int64_t i = 0; i < shape.numel(); ++i)
      same = same && result.data()[static_cast<size_t>(i)] ==
                         formula(x.data()[broadcast_index(i, shape, a)], y.data()[broadcast_index(i, shape, b)]);
    CHECK(same);
  };
  agrees(add(x, y), [](float p, float q) { return p + q; });
  agrees(sub(x, y), [](float p, float q) { return p - q; });
  agrees(mul(x, y), [](float p, float q) { return p * q; });
  agrees(div(x, y), [](float p, float q) { return p / q; });
}

TEST_CASE("shapes that do not broadcast are an error that names the op and both shapes") {
  const Tensor a = Tensor::zeros({2, 3}), b = Tensor::zeros({2, 4});
  CHECK(error_of([&] { add(a, b); }) == "add: shapes [2,3] and [2,4] do not broadcast");
  CHECK(error_of([&] { div(a, b); }) == "div: shapes [2,3] and [2,4] do not broadcast");
  CHECK(error_of([&] { clamp(a, 1, -1); }) == "clamp: the lower bound 1 is above the upper bound -1");
}

TEST_CASE("sums over any dimension equal plain loops, also where they are split among threads") {
  const Shape shape = GENERATE(Shape{3, 4, 5}, Shape{1, 70000, 1}, Shape{2, 40000, 3}, Shape{3, 5, 3000},
                               Shape{100, 7, 1}, Shape{0, 3, 2}, Shape{2, 0, 3});
  const Tensor x = normal_tensor(shape, 1);
  for (int dim = 0; dim < 3; ++dim) {
    const int64_t outer = shape.numel_until(dim), n = shape[dim], inner = shape.numel_from(dim + 1);
    const Tensor y = sum(x, dim, true);
    Shape kept = shape;
    kept.set(dim, 1);
    CAPTURE(to_string(shape), dim);
    REQUIRE(y.shape() == kept);
    double worst = 0;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t c = 0; c < inner; ++c) {
        double total = 0;
        for (int64_t k = 0; k < n; ++k) total += double{x.data()[static_cast<size_t>((o * n + k) * inner + c)]};
        worst = std::max(
            worst, std::fabs(total - double{y.data()[static_cast<size_t>(o * inner + c)]}) / (1 + std::fabs(total)));
      }
    CHECK(worst < 1e-6);
    CHECK(sum(x, dim, false).rank() == 2);
  }
}

TEST_CASE("a large sum keeps its digits") {
  CHECK(sum(Tensor::full({1 << 22}, 0.1f)).item() == Approx(0.1f * double{1 << 22}).epsilon(1e-7));
  CHECK(mean(Tensor::full({1 << 22}, 0.1f)).item() == 0.1f);
}

TEST_CASE("sums over pairs of numbers equal plain loops, also where they are split among threads") {
  const Tensor a = normal_tensor({100, 999}, 1), b = normal_tensor({100, 999}, 2);
  double products = 0, squares = 0;
  for (size_t i = 0; i < a.data().size(); ++i) {
    products += double{a.data()[i]} * b.data()[i];
    squares += std::pow(double{a.data()[i]} - b.data()[i], 2);
  }
  CHECK(dot(a, b).item() == Approx(products).epsilon(1e-6));
  CHECK(squared_distance(a, b).item() == Approx(squares).epsilon(1e-6));
  CHECK(squared_distance(Tensor::zeros({0, 2}), Tensor::zeros({0, 2})).item() == 0);
  CHECK(error_of([&] { squared_distance(a, Tensor::zeros({999})); }) ==
        "squared_distance: expected two tensors of one shape, got [100,999] and [999]");
}

TEST_CASE("reductions refuse dimensions that do not exist and means of nothing") {
  const Tensor x = Tensor::zeros({2, 0});
  CHECK(error_of([&] { sum(x, 2, false); }) == "dimension 2 is out of range for shape [2,0]");
  CHECK(error_of([&] { mean(x); }) == "mean: the mean of no elements, shape [2,0]");
  CHECK(error_of([&] { max(x); }) == "max: a tensor without elements, shape [2,0]");
  CHECK(sum(x).item() == 0);
}

TEST_CASE("max and min find extremes anywhere and share their gradient among equals") {
  Tensor x = normal_tensor({50000}, 1);
  x.mutable_data()[40001] = 50;
  x.mutable_data()[7] = -60;
  CHECK(max(x).item() == 50);
  CHECK(min(x).item() == -60);

  Tensor equal = Tensor::from({4}, std::vector<float>{2, 5, 5, 1});
  equal.set_requires_grad(true);
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = max(equal);
  }
  tape.backward(loss);
  CHECK(values(equal.grad()) == std::vector<float>{0, 0.5f, 0.5f, 0});
}

TEST_CASE("derivatives at kinks are those the header promises") {
  const auto derivative = [](const std::function<Tensor(const Tensor&)>& f, float at) {
    Tensor x = Tensor::full({1}, at);
    x.set_requires_grad(true);
    Tape tape;
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = sum(f(x));
    }
    tape.backward(loss);
    return x.grad().item();
  };
  CHECK(derivative(relu, 0) == 0);
  CHECK(derivative(relu6, 0) == 0);
  CHECK(derivative(relu6, 6) == 0);
  CHECK(derivative(qgrad::abs, 0) == 0);
  const auto clamped = [](const Tensor& x) { return clamp(x, -1, 2); };
  CHECK(derivative(clamped, -1) == 1);
  CHECK(derivative(clamped, 2) == 1);
  CHECK(derivative(clamped, 2.001f) == 0);
}

TEST_CASE("flatten puts channels first, as PyTorch's NCHW flatten does") {
  // [N,H,W,C] = [1,2,2,3]; element (h,w,c) is 6h + 3w + c.
  const Tensor y = flatten(counting({1, 2, 2, 3}));
  CHECK(y.shape() == Shape{1, 12});
  CHECK(values(y) == std::vector<float>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11});
  CHECK(values(flatten(counting({2, 1, 1, 3}))) == values(counting({6})));
  CHECK(flatten(counting({2, 3, 4})).shape() == Shape{2, 12});
  CHECK(error_of([] { flatten(Tensor::scalar(1)); }) == "flatten: expected at least one dimension, got a scalar");
}

TEST_CASE("transpose, slice, pad and concat move the right elements") {
  const int order[] = {1, 0};
  CHECK(values(transpose(counting({2, 3}), order)) == std::vector<float>{0, 3, 1, 4, 2, 5});
  const int cycle[] = {2, 0, 1};
  const Tensor turned = transpose(counting({2, 3, 4}), cycle);
  CHECK(turned.shape() == Shape{4, 2, 3});
  CHECK(turned.data()[1 * 6 + 1 * 3 + 2] == 1 * 12 + 2 * 4 + 1);
  CHECK(values(slice(counting({2, 3}), 1, 1, 3)) == std::vector<float>{1, 2, 4, 5});
  CHECK(values(slice(counting({2, 3}), 0, 1, 2)) == std::vector<float>{3, 4, 5});
  CHECK(values(pad(counting({2, 2}), 1, 1, 2)) == std::vector<float>{0, 0, 1, 0, 0, 0, 2, 3, 0, 0});
  const Tensor parts[] = {counting({2, 1}), counting({2, 2})};
  CHECK(values(concat(parts, -1)) == std::vector<float>{0, 0, 1, 1, 2, 3});
  CHECK(slice(counting({2, 3}), 1, 2, 2).shape() == Shape{2, 0});
}

TEST_CASE("ops that move numbers refuse what does not fit") {
  const Tensor x = Tensor::zeros({2, 3});
  const int twice[] = {0, 0}, one[] = {0};
  CHECK(error_of([&] { reshape(x, {4}); }) == "reshape: [2,3] has 6 elements, [4] has 4");
  CHECK(error_of([&] { transpose(x, twice); }) == "transpose: dimension 0 stands twice in the order");
  CHECK(error_of([&] { transpose(x, one); }) == "transpose: 1 dimensions in the order for shape [2,3]");
  CHECK(error_of([&] { slice(x, 1, 2, 4); }) == "slice: [2, 4) is not within dimension 1 of shape [2,3]");
  CHECK(error_of([&] { pad(x, 0, -1, 0); }) ==
        "pad: expected amounts from 0 to 1152921504606846975, got -1 and 0 for shape [2,3]");
  const Tensor parts[] = {x, Tensor::zeros({3, 3})};
  CHECK(error_of([&] { concat(parts, 1); }) == "concat along dimension 1: shapes [2,3] and [3,3] differ elsewhere");
  CHECK(error_of([&] { concat({}, 0); }) == "concat: nothing to concatenate");
}

TEST_CASE("batch normalisation uses the batch's mean and biased variance, however far from zero they are") {
  const float offset = GENERATE(0.0f, 1000.0f);
  const int64_t channels = GENERATE(1, 5, 16);
  Tensor x = normal_tensor({9, 20, 11, channels}, 1);
  for (float& v : x.mutable_data()) v += offset;
  const Tensor gamma = normal_tensor({channels}, 2), beta = normal_tensor({channels}, 3);
  const auto [y, statistics] = batch_norm_train(x, gamma, beta, 1e-5f);
  const size_t rows = 9 * 20 * 11, c_count = static_cast<size_t>(channels);
  CHECK(statistics.count == static_cast<int64_t>(rows));
  for (size_t c = 0; c < c_count; ++c) {
    double mean = 0, variance = 0, worst = 0;
    for (size_t r = 0; r < rows; ++r) mean += double{x.data()[r * c_count + c]} / rows;
    for (size_t r = 0; r < rows; ++r) variance += std::pow(double{x.data()[r * c_count + c]} - mean, 2) / rows;
    CHECK(statistics.mean.data()[c] == Approx(mean).margin(1e-6));
    CHECK(statistics.variance.data()[c] == Approx(variance).epsilon(1e-6));
    for (size_t r = 0; r < rows; ++r) {
      const double normal = (double{x.data()[r * c_count + c]} - mean) / std::sqrt(variance + 1e-5);
      const double expected = normal * double{gamma.data()[c]} + double{beta.data()[c]};
      worst = std::max(worst, std::fabs(expected - double{y.data()[r * c_count + c]}));
    }
    CHECK(worst < 1e-5 + double{offset} * 2e-7);
  }
}

TEST_CASE("evaluating with the batch's own statistics equals training's output") {
  const Tensor x = normal_tensor({4, 3, 3, 5}, 1), gamma = normal_tensor({5}, 2), beta = normal_tensor({5}, 3);
  const auto [y, statistics] = batch_norm_train(x, gamma, beta, 1e-5f);
  const Tensor z = batch_norm_eval(x, gamma, beta, statistics.mean, statistics.variance, 1e-5f);
  for (size_t i = 0; i < y.data().size(); ++i) REQUIRE(z.data()[i] == Approx(y.data()[i]).margin(1e-6));
  CHECK(!statistics.mean.requires_grad());
}

TEST_CASE("batch normalisation refuses single values and parameters of another size") {
  const Tensor one = Tensor::zeros({1, 1, 1, 4}), x = Tensor::zeros({2, 4}), wrong = Tensor::zeros({3}), none;
  CHECK(error_of([&] { batch_norm_train(one, none, none, 1e-5f); }) ==
        "batch_norm: statistics need more than one value per channel, got input [1,1,1,4]");
  CHECK(error_of([&] { batch_norm_train(x, wrong, none, 1e-5f); }) ==
        "batch_norm: gamma has shape [3], input [2,4] wants [4]");
  CHECK(error_of([&] { batch_norm_eval(x, none, none, wrong, wrong, 1e-5f); }) ==
        "batch_norm: mean has shape [3], input [2,4] wants [4]");
  CHECK(error_of([&] { batch_norm_eval(x, none, none, none, none, 1e-5f); }) ==
        "batch_norm: evaluation needs a mean and a variance");
}

TEST_CASE("pooling computes maxima and averages with padding as zeros") {
  const Tensor x = counting({1, 3, 3, 1});
  const Pool2dOptions padded{
      .kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1};
  CHECK(values(max_pool2d(x, padded)) == std::vector<float>{4, 5, 7, 8});
  CHECK(avg_pool2d(x, padded).data()[0] == Approx((0 + 1 + 3 + 4) / 9.0));
  CHECK(values(max_pool2d(x, {})) == std::vector<float>{4});
  CHECK(values(global_avg_pool2d(counting({2, 2, 2, 2}))) == std::vector<float>{3, 4, 11, 12});
}

TEST_CASE("pooling refuses geometry that makes empty windows") {
  const Tensor x = Tensor::zeros({1, 3, 3, 2});
  CHECK(error_of([&] { max_pool2d(x, {.kernel_h = 4, .kernel_w = 4}); }) ==
        "max_pool2d: kernel 4x4 is larger than the images of [1,3,3,2]");
  CHECK(error_of([&] { avg_pool2d(x, {.padding_h = 2}); }) ==
        "avg_pool2d: padding 2x0 and padding_end 2x0 must be 0 or more, and less than the window of 2x2");
  CHECK(error_of([&] { avg_pool2d(x, {.padding_end_w = -1}); }) ==
        "avg_pool2d: padding 0x0 and padding_end 0x-1 must be 0 or more, and less than the window of 2x2");
  CHECK(error_of([&] { max_pool2d(x, {.padding_h = 1, .dilation_h = 4}); }) ==
        "max_pool2d: a kernel 2x2 with dilation 4x1 jumps over the images of [1,3,3,2]");
  CHECK(error_of([&] { avg_pool2d(x, {.dilation_w = 2}); }) == "avg_pool2d: expected no dilation, got 1x2");
  CHECK(error_of([&] { max_pool2d(x, {.stride_h = 0}); }) == "max_pool2d: kernel 2x2 and stride 0x2 must be 1 or more");
  CHECK(error_of([&] {
          global_avg_pool2d(Tensor::zeros({3, 3}));
        }) == "global_avg_pool2d: expected images [N,H,W,C], got [3,3]");
}

TEST_CASE("equal operands of a maximum share the gradient") {
  Tensor a = Tensor::from({3}, std::vector<float>{1, 2, 3}), b = Tensor::from({3}, std::vector<float>{2, 2, 2});
  a.set_requires_grad(true), b.set_requires_grad(true);
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = sum(maximum(a, b));
  }
  tape.backward(loss);
  CHECK(values(a.grad()) == std::vector<float>{0, 0.5f, 1});
  CHECK(values(b.grad()) == std::vector<float>{1, 0.5f, 0});
}

TEST_CASE("powers have gradients where logarithms have none") {
  Tensor a = Tensor::from({4}, std::vector<float>{0, 0, -2, -1}), b = Tensor::from({4}, std::vector<float>{0, 2, 2, 3});
  a.set_requires_grad(true), b.set_requires_grad(true);
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = sum(pow(a, b));
  }
  tape.backward(loss);
  CHECK(loss.item() == 1 + 0 + 4 - 1);
  CHECK(values(a.grad()) == std::vector<float>{0, 0, -4, 3});
  CHECK(std::vector<float>(b.grad().data().begin(), b.grad().data().begin() + 2) == std::vector<float>{0, 0});
}

TEST_CASE("slopes that do not broadcast to the input are an error") {
  CHECK(error_of([] { prelu(Tensor::zeros({2, 3}), Tensor::zeros({4})); }).starts_with("prelu: "));
  CHECK(error_of([] {
          prelu(Tensor::zeros({3}), Tensor::zeros({2, 3}));
        }) == "prelu: slopes [2,3] do not broadcast to [3]");
}

TEST_CASE("softmax goes over any dimension") {
  const Tensor x = normal_tensor({3, 4, 2, 5}, 1);
  const int order[] = {0, 3, 2, 1};
  CHECK(bits(transpose(softmax(transpose(x, order)), order)) == bits(softmax(x, 1)));
  CHECK(bits(transpose(log_softmax(transpose(x, order)), order)) == bits(log_softmax(x, -3)));
  CHECK(sum(softmax(x, 0), 0, false).data()[7] == Approx(1));
  CHECK(error_of([] { softmax(Tensor::scalar(1)); }) == "softmax: expected [.., classes], got []");
}

TEST_CASE("softmax and its logarithm are right for logits of any size") {
  const float scale = GENERATE(1.0f, 500.0f);
  const Tensor x = normal_tensor({37, 13}, 1, scale);
  const Tensor p = softmax(x), log_p = log_softmax(x);
  for (size_t row = 0; row < 37; ++row) {
    const auto logits = x.data().subspan(row * 13, 13);
    const double largest = *std::ranges::max_element(logits);
    double total = 0;
    for (const float v : logits) total += std::exp(double{v} - largest);
    for (size_t c = 0; c < 13; ++c) {
      const double expected = double{logits[c]} - largest - std::log(total);
      REQUIRE(log_p.data()[row * 13 + c] == Approx(expected).epsilon(1e-6).margin(1e-6));
      REQUIRE(p.data()[row * 13 + c] == Approx(std::exp(expected)).epsilon(1e-5).margin(1e-30));
    }
  }
}

TEST_CASE("cross entropy is the mean negative log probability of the smoothed label") {
  const Tensor logits = normal_tensor({6, 4}, 1, 3.0f), log_p = log_softmax(logits);
  const std::vector<int32_t> labels{3, 0, 1, 1, 2, 3};
  const float smoothing = GENERATE(0.0f, 0.1f);
  double expected = 0;
  for (size_t i = 0; i < 6; ++i)
    for (size_t c = 0; c < 4; ++c) {
      const double target = double{smoothing} / 4 + (static_cast<int32_t>(c) == labels[i] ? 1 - double{smoothing} : 0);
      expected -= target * double{log_p.data()[i * 4 + c]} / 6;
    }
  CHECK(softmax_cross_entropy(logits, labels, smoothing).item() == Approx(expected).epsilon(1e-6));
}

TEST_CASE("cross entropy refuses labels that are no class") {
  const Tensor logits = Tensor::zeros({2, 3});
  const std::vector<int32_t> large{0, 3}, negative{-1, 0}, few{0};
  CHECK(error_of([&] { softmax_cross_entropy(logits, large); }) ==
        "softmax_cross_entropy: label 1 is 3, expected 0 to 2");
  CHECK(error_of([&] { softmax_cross_entropy(logits, negative); }) ==
        "softmax_cross_entropy: label 0 is -1, expected 0 to 2");
  CHECK(error_of([&] { softmax_cross_entropy(logits, few); }) == "softmax_cross_entropy: 1 labels for logits [2,3]");
  CHECK(error_of([&] {
          softmax_cross_entropy(logits, std::vector<int32_t>{0, 1}, 1.5f);
        }) == "softmax_cross_entropy: expected a label smoothing of 0 to 1, got 1.5");
}

TEST_CASE("embedding picks rows and refuses ids that are no row") {
  const Tensor table = counting({4, 2});
  const Tensor y = embedding(Tensor::from({1, 3}, std::vector<float>{3, 0, 3}), table);
  CHECK(y.shape() == Shape{1, 3, 2});
  CHECK(values(y) == std::vector<float>{6, 7, 0, 1, 6, 7});
  const auto with_id = [&](float id) {
    return error_of([&] { embedding(Tensor::from({2}, std::vector<float>{0, id}), table); });
  };
  CHECK(with_id(4) == "embedding: id 1 is 4, expected an integer from 0 to 3");
  CHECK(with_id(-1) == "embedding: id 1 is -1, expected an integer from 0 to 3");
  CHECK(with_id(0.5f) == "embedding: id 1 is 0.5, expected an integer from 0 to 3");
  CHECK(with_id(std::nanf("")) == "embedding: id 1 is nan, expected an integer from 0 to 3");
  CHECK(with_id(std::numeric_limits<float>::infinity()) == "embedding: id 1 is inf, expected an integer from 0 to 3");
}

TEST_CASE("no op leaves the grid of its input on its output") {
  Tensor x = normal_tensor({2, 3}, 1);
  x.set_grid({.scale = 2});
  CHECK(!relu(x).grid());
  CHECK(!reshape(x, {6}).grid());
  CHECK(!flatten(x).grid());
}
