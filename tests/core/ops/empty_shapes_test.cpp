// Every op on shapes with dimensions of zero: an Error, or a result whose gradients have the inputs' shapes.
#include <functional>
#include <limits>
#include <vector>

#include "core/ops.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace empty_shapes_test {

using namespace qgrad;
using test::error_of;

namespace {

struct EmptyCase {
  const char* name;
  std::vector<Shape> inputs;
  std::function<Tensor(const std::vector<Tensor>&)> op;
};

std::vector<EmptyCase> cases() {
  using In = const std::vector<Tensor>&;
  const Shape images{2, 4, 4, 8}, rows{3, 8}, channels{8};
  const auto labels = [](const Tensor& x) { return std::vector<int32_t>(static_cast<size_t>(x.dim(0)), 0); };
  constexpr int kOrder[] = {3, 0, 2, 1};
  return {
      {"add", {images, channels}, [](In x) { return add(x[0], x[1]); }},
      {"mul", {images, images}, [](In x) { return mul(x[0], x[1]); }},
      {"div", {rows, rows}, [](In x) { return div(x[0], x[1]); }},
      {"pow", {rows, rows}, [](In x) { return pow(square(x[0]), x[1]); }},
      {"maximum", {images, channels}, [](In x) { return maximum(x[0], x[1]); }},
      {"prelu", {images, channels}, [](In x) { return prelu(x[0], x[1]); }},
      {"gelu", {images}, [](In x) { return gelu(x[0], GeluApproximation::none); }},
      {"sum of dimensions",
       {images},
       [](In x) {
         return sum(x[0], std::vector<int>{1, 3}, true);
       }},
      {"mean of dimensions",
       {images},
       [](In x) {
         return mean(x[0], std::vector<int>{0, 2}, true);
       }},
      {"max of dimensions",
       {images},
       [](In x) {
         return max(x[0], std::vector<int>{1, 2}, true);
       }},
      {"slice with steps", {images}, [](In x) { return slice(x[0], 2, {}, {}, -2); }},
      {"index_select",
       {images},
       [](In x) {
         return index_select(x[0], 1, std::vector<int64_t>{2, 0});
       }},
      {"pad by edges",
       {rows},
       [](In x) {
         return pad(x[0], std::vector<int64_t>{1, 1}, std::vector<int64_t>{0, 2}, PadMode::edge, 0);
       }},
      {"expand",
       {{4, 1, 8}},
       [](In x) {
         return expand(x[0], {4, 3, 8});
       }},
      {"resize", {images}, [](In x) { return resize(x[0], {.height = 3, .width = 5}); }},
      {"conv_transpose2d", {images, {3, 3, 8, 4}, {4}}, [](In x) { return conv_transpose2d(x[0], x[1], x[2], {}); }},
      {"group_norm", {images, channels, channels}, [](In x) { return group_norm(x[0], 2, x[1], x[2], 1e-5f); }},
      {"layer_norm", {rows, channels}, [](In x) { return layer_norm(x[0], {8}, x[1], {}, 1e-5f); }},
      {"matmul, broadcasting", {{2, 3, 8}, {8, 5}}, [](In x) { return matmul(x[0], x[1]); }},
      {"relu", {images}, [](In x) { return relu(x[0]); }},
      {"sum", {images}, [](In x) { return sum(x[0]); }},
      {"mean", {images}, [](In x) { return mean(x[0]); }},
      {"sum of a dimension", {images}, [](In x) { return sum(x[0], 2, true); }},
      {"mean of a dimension", {images}, [](In x) { return mean(x[0], 3, false); }},
      {"dot", {rows, rows}, [](In x) { return dot(x[0], x[1]); }},
      {"squared_distance", {rows, rows}, [](In x) { return squared_distance(x[0], x[1]); }},
      {"max", {rows}, [](In x) { return max(x[0]); }},
      {"min", {rows}, [](In x) { return min(x[0]); }},
      {"reshape",
       {images},
       [](In x) {
         return reshape(x[0], {x[0].dim(3), x[0].numel() / std::max<int64_t>(1, x[0].dim(3))});
       }},
      {"flatten", {images}, [](In x) { return flatten(x[0]); }},
      {"concat", {images, images}, [](In x) { return concat(x, 1); }},
      {"slice", {images}, [](In x) { return slice(x[0], 1, 0, x[0].dim(1)); }},
      {"transpose", {images}, [=](In x) { return transpose(x[0], kOrder); }},
      {"pad", {images}, [](In x) { return pad(x[0], 2, 1, 0); }},
      {"matmul", {rows, {8, 5}}, [](In x) { return matmul(x[0], x[1]); }},
      {"matmul of batches", {{2, 3, 8}, {2, 8, 5}}, [](In x) { return matmul(x[0], x[1]); }},
      {"linear", {rows, {8, 5}, {5}}, [](In x) { return linear(x[0], x[1], x[2]); }},
      {"conv2d", {images, {3, 3, 8, 16}, {16}}, [](In x) { return conv2d(x[0], x[1], x[2], {.padding_h = 1}); }},
      {"conv2d, depthwise", {images, {3, 3, 1, 8}}, [](In x) { return conv2d(x[0], x[1], {}, {.groups = 8}); }},
      {"max_pool2d", {images}, [](In x) { return max_pool2d(x[0], {}); }},
      {"avg_pool2d", {images}, [](In x) { return avg_pool2d(x[0], {}); }},
      {"global_avg_pool2d", {images}, [](In x) { return global_avg_pool2d(x[0]); }},
      {"batch_norm_train",
       {images, channels, channels},
       [](In x) { return batch_norm_train(x[0], x[1], x[2], 1e-5f).y; }},
      {"batch_norm_train without gamma and beta",
       {rows},
       [](In x) { return relu(batch_norm_train(x[0], {}, {}, 1e-5f).y); }},
      {"batch_norm_eval",
       {images, channels, channels},
       [](In x) { return batch_norm_eval(x[0], {}, {}, x[1], square(x[2]), 1e-5f); }},
      {"softmax", {rows}, [](In x) { return softmax(x[0]); }},
      {"log_softmax", {rows}, [](In x) { return log_softmax(x[0]); }},
      {"softmax_cross_entropy", {rows}, [=](In x) { return softmax_cross_entropy(x[0], labels(x[0]), 0.1f); }},
      {"embedding", {{2, 3}, {6, 4}}, [](In x) { return embedding(mul_scalar(x[0], 0), x[1]); }},
  };
}

void run(const EmptyCase& c, const std::vector<Shape>& shapes) {
  std::vector<Tensor> inputs;
  for (const Shape& shape : shapes) {
    inputs.push_back(test::normal_tensor(shape, 1));
    inputs.back().set_requires_grad(true);
  }
  c.op(inputs);  // not recorded
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = sum(c.op(inputs));
  }
  if (loss.requires_grad()) tape.backward(loss);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].grad().defined()) CHECK(inputs[i].grad().shape() == shapes[i]);
}

}  // namespace

TEST_CASE("an op on an empty shape is an error with its name or does nothing") {
  for (const EmptyCase& c : cases()) {
    INFO(c.name);
    REQUIRE_NOTHROW(run(c, c.inputs));
    // Each dimension of each input is zero in turn, with and without the equal ones of the others.
    for (size_t input = 0; input < c.inputs.size(); ++input)
      for (int d = 0; d < c.inputs[input].rank(); ++d)
        for (const bool others : {false, true}) {
          std::vector<Shape> shapes = c.inputs;
          for (size_t other = 0; other < shapes.size(); ++other)
            for (int e = 0; e < shapes[other].rank(); ++e)
              if ((other == input && e == d) || (others && shapes[other][e] == c.inputs[input][d]))
                shapes[other].set(e, 0);
          const std::string error = error_of([&] { run(c, shapes); });
          INFO(error);
          CHECK((error == "no error" || error.find(std::string(c.name, 3)) != std::string::npos ||
                 error.find("broadcast") != std::string::npos));
        }
  }
}

TEST_CASE("amounts and options beyond every address are errors") {
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
  const Tensor x = test::normal_tensor({1, 4, 4, 8}, 1), weight = test::normal_tensor({3, 3, 8, 8}, 2);
  for (const int64_t huge : {kLargest, kLargest / 2, kLargest / 3, int64_t{1} << 61}) {
    CHECK_THROWS_AS(pad(x, 1, huge, 0), Error);
    CHECK_THROWS_AS(pad(x, 1, huge, huge), Error);
    for (auto option : {&Conv2dOptions::padding_h, &Conv2dOptions::dilation_w, &Conv2dOptions::groups}) {
      Conv2dOptions options;
      options.*option = huge;
      CHECK_THROWS_AS(conv2d(x, weight, {}, options), Error);
    }
    for (auto option : {&Pool2dOptions::kernel_h, &Pool2dOptions::padding_w, &Pool2dOptions::stride_h}) {
      Pool2dOptions options;
      options.*option = huge;
      CHECK_THROWS_AS(max_pool2d(x, options), Error);
      CHECK_THROWS_AS(avg_pool2d(x, options), Error);
    }
    CHECK_THROWS_AS(Tensor::empty({huge, 3}), Error);
  }
}

TEST_CASE("an op that gives no tensor is an error with its name") {
  Tensor x = test::normal_tensor({2}, 1);
  x.set_requires_grad(true);
  Tape tape;
  const Tape::Recording recording(tape);
  CHECK(error_of([&] { record("nothing", Tensor(), {x}, [](Tensor, Grads&) {}); }) ==
        "nothing: its output is undefined");
}

}  // namespace empty_shapes_test
