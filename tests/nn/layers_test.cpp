// Layers: what they add to the ops they call.
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"

using namespace qgrad;
using test::error_of;

namespace {

Tensor of(const Shape& shape, std::vector<float> values) { return Tensor::from(shape, values); }

}  // namespace

TEST_CASE("batch norm in training normalises by the batch and moves the running statistics as PyTorch does") {
  BatchNorm2d bn(2);
  // Channels 1 2 3 5 and 0.5 -1 0 2 of one 2x2 image; expected numbers from torch 1.13.
  const Tensor y = bn(of({1, 2, 2, 2}, {1, 0.5f, 2, -1, 3, 0, 5, 2}));
  const Tensor expected = of({1, 2, 2, 2}, {-1.18321323f, 0.115469575f, -0.507091403f, -1.27016521f, 0.169030428f,
                                            -0.346408665f, 1.52127409f, 1.50110435f});
  CHECK(golden::difference(y, expected) == "");
  CHECK(golden::difference(bn.running_mean(), of({2}, {0.275000006f, 0.0375000015f})) == "");
  CHECK(golden::difference(bn.running_var(), of({2}, {1.1916666f, 1.05624998f})) == "");
}

TEST_CASE("batch norm in evaluation uses the running statistics and leaves them") {
  BatchNorm1d bn({.features = 1, .eps = 0});
  bn.running_mean.set(Tensor::full({1}, 2));
  bn.running_var.set(Tensor::full({1}, 4));
  bn.set_training(false);
  CHECK(golden::difference(bn(of({2, 1}, {6, 2})), of({2, 1}, {2, 0})) == "");
  CHECK(bn.running_mean().item() == 2);
}

TEST_CASE("one value per channel is not enough to train a batch norm") {
  BatchNorm1d bn({.features = 2});
  CHECK(error_of([&] { bn(Tensor::zeros({1, 2})); }).find("more than one value per channel") != std::string::npos);
}

TEST_CASE("element-wise layers combine any number of inputs from left to right") {
  EltwiseAdd add;
  EltwiseMult mult;
  const Tensor a = Tensor::full({2}, 2), b = Tensor::full({2}, 3), c = Tensor::full({2}, 5);
  CHECK(add(a, b, c).data()[0] == 10);
  CHECK(mult(a, b, c).data()[1] == 30);
  CHECK_THROWS_AS(add(a), Error);
}

TEST_CASE("differences, quotients, maxima, minima and powers are taken from left to right") {
  const Tensor a = Tensor::full({2}, 12), b = Tensor::full({1, 2}, 3), c = Tensor::full({}, 2);
  CHECK(EltwiseSub()(a, b, c).data()[0] == 7);
  CHECK(EltwiseDiv()(a, b, c).data()[1] == 2);
  CHECK(EltwiseMax()(b, a, c).shape() == Shape{1, 2});
  CHECK(EltwiseMax()(b, a, c).data()[0] == 12);
  CHECK(EltwiseMin()(b, a, c).data()[0] == 2);
  CHECK(EltwisePow()(b, c).data()[1] == 9);
  CHECK(error_of([&] { EltwisePow()(a, b, c); }).starts_with("EltwisePow takes two inputs, got 3"));
}

TEST_CASE("layers that take one input refuse two") {
  Linear fc(2, 2);
  const Tensor x = Tensor::zeros({1, 2});
  CHECK(error_of([&] { fc(x, x); }).starts_with("Linear takes one input, got 2"));
}

TEST_CASE("channels that do not divide into groups are refused when the layer is made") {
  Conv2dConfig config = square_conv(3, 4, 3);
  config.options.groups = 2;
  CHECK(error_of([&] { Conv2d{config}; }) == "Conv2d: 3 -> 4 channels do not divide into 2 groups");
}

TEST_CASE("channel padding puts zeros before and after") {
  PadChannels pad(1, 2);
  CHECK(golden::difference(pad(Tensor::full({1, 1, 1, 2}, 7)), of({1, 1, 1, 5}, {0, 7, 7, 0, 0}), golden::kExact) ==
        "");
}

TEST_CASE("an embedding looks rows up") {
  Embedding embedding(3, 2);
  embedding.weight.set_raw(of({3, 2}, {1, 2, 3, 4, 5, 6}));
  CHECK(golden::difference(embedding(of({2}, {2, 0})), of({2, 2}, {5, 6, 1, 2}), golden::kExact) == "");
}

TEST_CASE("Split takes one of the equal parts of a dimension") {
  const Tensor x = of({2, 4}, {1, 2, 3, 4, 5, 6, 7, 8});
  Split second(-1, 2, 1), row(0, 2, 0), thirds(1, 3, 0);
  CHECK(golden::difference(second(x), of({2, 2}, {3, 4, 7, 8}), golden::kExact) == "");
  CHECK(golden::difference(row(x), of({1, 4}, {1, 2, 3, 4}), golden::kExact) == "");
  CHECK(error_of([&] { thirds(x); }).starts_with("Split: dimension 1 of [2,4] does not divide into 3 equal parts"));
  CHECK(error_of([] { Split(0, 2, 2); }) == "Split: there is no part 2 of 2");
}
