// Every op's backward against central differences. Convolution and matrix products have their own files.
#include "core/ops.h"

#include <cmath>

#include "support/catch.h"
#include "support/gradcheck.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

using Binary = Tensor (*)(const Tensor&, const Tensor&);
using Unary = Tensor (*)(const Tensor&);

Function unary(Unary op) {
  return [op](Inputs x) { return op(x[0]); };
}

}  // namespace

TEST_CASE("gradients of the two-operand ops are right for every kind of broadcast") {
  const auto [a, b] = GENERATE(table<Shape, Shape>({{{3, 4}, {3, 4}},
                                                    {{2, 3, 5}, {5}},
                                                    {{5}, {2, 3, 5}},
                                                    {{2, 3, 4}, {}},
                                                    {{}, {4}},
                                                    {{2, 3, 4}, {2, 1, 4}},
                                                    {{2, 1, 4}, {1, 3, 1}},
                                                    {{3, 1}, {1, 4}},
                                                    {{2, 3}, {1, 1, 2, 3}},
                                                    {{1}, {1, 1}},
                                                    {{2, 1, 3, 1, 2}, {4, 1, 2, 1}},
                                                    {{2, 3, 1}, {2, 3, 6}}}));
  const Binary op = GENERATE(Binary(add), Binary(sub), Binary(mul), Binary(div));
  const Tensor divisor = uniform_tensor(b, 2, 0.7f, 2.0f);  // far from zero
  CAPTURE(to_string(a), to_string(b));
  CHECK(gradcheck([op](Inputs x) { return op(x[0], x[1]); }, {normal_tensor(a, 1), divisor}) == "");
}

TEST_CASE("gradients flow to both operands when they are the same tensor") {
  const Tensor x = uniform_tensor({4}, 1, 0.5f, 2.0f);
  CHECK(gradcheck([](Inputs i) { return mul(i[0], i[0]); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return add(i[0], i[0]); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return sub(square(i[0]), i[0]); }, {x}) == "");
}

TEST_CASE("gradients of the one-operand ops are right") {
  const Shape shape{3, 7};
  CHECK(gradcheck(unary(neg), {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(qgrad::abs), {kink_free_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(square), {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(qgrad::sqrt), {uniform_tensor(shape, 1, 0.5f, 4.0f)}) == "");
  CHECK(gradcheck(unary(qgrad::exp), {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(qgrad::log), {uniform_tensor(shape, 1, 0.5f, 4.0f)}) == "");
  CHECK(gradcheck(unary(relu), {kink_free_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(relu6), {Tensor::from({6}, std::vector<float>{-3, -0.5f, 0.5f, 3, 5.5f, 8})}) == "");
  CHECK(gradcheck(unary(sigmoid), {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck(unary(qgrad::tanh), {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck([](Inputs x) { return add_scalar(x[0], 3); }, {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck([](Inputs x) { return mul_scalar(x[0], -2.5f); }, {normal_tensor(shape, 1)}) == "");
  CHECK(gradcheck([](Inputs x) { return clamp(x[0], -1, 2); },
                  {Tensor::from({5}, std::vector<float>{-4, -0.5f, 0.5f, 1.5f, 3})}) == "");
}

TEST_CASE("gradients of functions with settings are right") {
  const Tensor x = kink_free_tensor({3, 7}, 1), positive = uniform_tensor({3, 7}, 1, 0.5f, 2.0f);
  for (const Unary op : {Unary(erf), Unary(hard_swish), Unary(silu), Unary(softplus)})
    CHECK(gradcheck(unary(op), {x}) == "");
  CHECK(gradcheck([](Inputs i) { return elu(i[0], 1.5f); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return hard_sigmoid(i[0], 0.1f, 0.4f); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return leaky_relu(i[0], 0.1f); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return gelu(i[0], GeluApproximation::none); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return gelu(i[0], GeluApproximation::tanh); }, {x}) == "");
  for (const float exponent : {1.0f, 2.0f, 3.0f, -1.0f})
    CHECK(gradcheck([=](Inputs i) { return pow(i[0], exponent); }, {x}, {.step = 1e-3f}) == "");
  for (const float exponent : {0.5f, -0.5f, 2.3f})
    CHECK(gradcheck([=](Inputs i) { return pow(i[0], exponent); }, {positive}) == "");
  CHECK(gradcheck([](Inputs i) { return prelu(i[0], i[1]); }, {x, normal_tensor({7}, 2)}) == "");
  CHECK(gradcheck([](Inputs i) { return prelu(i[0], i[1]); }, {x, normal_tensor({1}, 2)}) == "");
}

TEST_CASE("gradients of powers, maxima and minima of two operands are right for every kind of broadcast") {
  const auto [a, b] =
      GENERATE(table<Shape, Shape>({{{3, 4}, {3, 4}}, {{2, 3, 5}, {5}}, {{}, {4}}, {{2, 1, 4}, {1, 3, 1}}}));
  const Binary op = GENERATE(Binary(maximum), Binary(minimum), Binary(pow));
  // Never nearer to each other than a step.
  Tensor left = uniform_tensor(a, 1, 0.5f, 2.0f), right = uniform_tensor(b, 2, 0.5f, 2.0f);
  for (float& v : left.mutable_data()) v = std::nearbyint(v * 10) / 10;
  for (float& v : right.mutable_data()) v = std::nearbyint(v * 10) / 10 + 0.05f;
  CHECK(gradcheck([op](Inputs x) { return op(x[0], x[1]); }, {left, right}, {.step = 1e-3f}) == "");
}

TEST_CASE("gradients of sums, means and extremes are right") {
  const Tensor x = normal_tensor({3, 4, 5}, 1);
  CHECK(gradcheck([](Inputs i) { return sum(i[0]); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return mean(i[0]); }, {x}) == "");
  const int dim = GENERATE(0, 1, 2, -1);
  const bool keep_dim = GENERATE(false, true);
  CHECK(gradcheck([=](Inputs i) { return sum(i[0], dim, keep_dim); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return mean(i[0], dim, keep_dim); }, {x}) == "");
  const Tensor y = normal_tensor({3, 4, 5}, 2);
  CHECK(gradcheck([](Inputs i) { return dot(i[0], i[1]); }, {x, y}) == "");
  CHECK(gradcheck([](Inputs i) { return squared_distance(i[0], i[1]); }, {x, y}) == "");
  const Tensor apart = Tensor::from({2, 3}, std::vector<float>{1, -5, 3, 9, -2, 4});
  CHECK(gradcheck([](Inputs i) { return max(i[0]); }, {apart}) == "");
  CHECK(gradcheck([](Inputs i) { return min(i[0]); }, {apart}) == "");
}

TEST_CASE("gradients of the ops that move numbers are right") {
  const Tensor x = normal_tensor({2, 3, 4, 2}, 1);
  CHECK(gradcheck([](Inputs i) { return reshape(i[0], {6, 8}); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return flatten(i[0]); }, {x}) == "");
  CHECK(gradcheck([](Inputs i) { return flatten(i[0]); }, {normal_tensor({2, 1, 1, 3}, 1)}) == "");
  CHECK(gradcheck(
            [](Inputs i) {
              const int order[] = {2, 0, -1, 1};
              return transpose(i[0], order);
            },
            {x}) == "");
  const int dim = GENERATE(0, 1, 2, -1);
  CHECK(gradcheck([=](Inputs i) { return slice(i[0], dim, 1, 2); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return pad(i[0], dim, 2, 1); }, {x}) == "");
  Shape other{2, 3, 4, 2};
  other.set(dim, 5);
  CHECK(gradcheck([=](Inputs i) { return concat(i, dim); }, {x, normal_tensor(other, 2), x}) == "");
}

TEST_CASE("gradients of batch normalisation are right, through the batch's statistics too") {
  const size_t channels = GENERATE(1, 3, 9);
  const auto c = static_cast<int64_t>(channels);
  const Tensor x = normal_tensor({2, 3, 2, c}, 1), gamma = uniform_tensor({c}, 2, 0.5f, 2.0f),
               beta = normal_tensor({c}, 3);
  const Tensor none, mean = normal_tensor({c}, 4), variance = uniform_tensor({c}, 5, 0.5f, 2.0f);
  CHECK(gradcheck([](Inputs i) { return batch_norm_train(i[0], i[1], i[2], 1e-3f).y; }, {x, gamma, beta}) == "");
  CHECK(gradcheck([&](Inputs i) { return batch_norm_train(i[0], none, none, 1e-3f).y; }, {x}) == "");
  CHECK(gradcheck([&](Inputs i) { return batch_norm_train(i[0], i[1], none, 1e-3f).y; }, {x, gamma}) == "");
  CHECK(gradcheck([&](Inputs i) { return batch_norm_eval(i[0], i[1], i[2], mean, variance, 1e-3f); },
                  {x, gamma, beta}) == "");
  CHECK(gradcheck([&](Inputs i) { return batch_norm_eval(i[0], none, i[1], mean, variance, 1e-3f); }, {x, beta}) == "");
}

TEST_CASE("gradients of pooling are right") {
  // Distinct values, further apart than a step, so that no maximum changes hands.
  Tensor x = Tensor::empty({2, 5, 6, 3});
  for (size_t i = 0; i < x.data().size(); ++i)
    x.mutable_data()[i] = static_cast<float>((i * 73) % x.data().size()) * 0.1f - 9.0f;
  const Pool2dOptions options = GENERATE(
      Pool2dOptions{},
      Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .stride_h = 2, .stride_w = 2, .padding_h = 1, .padding_w = 1},
      Pool2dOptions{.kernel_h = 3, .kernel_w = 2, .stride_h = 1, .stride_w = 1, .padding_h = 0, .padding_w = 1},
      Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .padding_h = 2, .padding_end_w = 1, .ceil = true},
      Pool2dOptions{.kernel_h = 3, .kernel_w = 3, .padding_h = 1, .padding_w = 1, .count_padding = false});
  CHECK(gradcheck([&](Inputs i) { return max_pool2d(i[0], options); }, {x}, {.step = 1e-3f}) == "");
  CHECK(gradcheck([&](Inputs i) { return avg_pool2d(i[0], options); }, {x}) == "");
  Pool2dOptions dilated = options;
  dilated.dilation_h = 2;
  CHECK(gradcheck([&](Inputs i) { return max_pool2d(i[0], dilated); }, {x}, {.step = 1e-3f}) == "");
  CHECK(gradcheck([](Inputs i) { return global_avg_pool2d(i[0]); }, {x}) == "");
}

TEST_CASE("gradients of softmax and cross entropy are right") {
  const Tensor x = normal_tensor({4, 5}, 1);
  const int dim = GENERATE(-1, 0);
  CHECK(gradcheck([=](Inputs i) { return softmax(i[0], dim); }, {x}) == "");
  CHECK(gradcheck([=](Inputs i) { return log_softmax(i[0], dim); }, {x}) == "");
  const std::vector<int32_t> labels{0, 4, 2, 2};
  const float smoothing = GENERATE(0.0f, 0.1f, 1.0f);
  CHECK(gradcheck([&](Inputs i) { return softmax_cross_entropy(i[0], labels, smoothing); }, {x}) == "");
}

TEST_CASE("gradients of an embedding add up where an id is used twice") {
  const Tensor ids = Tensor::from({2, 3}, std::vector<float>{1, 0, 1, 3, 1, 0});
  CHECK(gradcheck([&](Inputs i) { return embedding(ids, i[0]); }, {normal_tensor({4, 5}, 1)}) == "");
}
