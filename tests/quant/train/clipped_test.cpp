// Clipped activations: golden values and gradients, the learned clip.
#include "quant/train/clipped_activation.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "core/tape.h"
#include "nn/optim/sgd.h"
#include "quant/train/ste.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/gradcheck.h"
#include "support/values.h"
#include "support/weighted_sum.h"

namespace clipped_test {

using namespace qgrad;
using namespace qgrad::golden;
using Floats = std::vector<float>;

namespace {

// Compares f(x) and the gradient of sum(f(x) * g) with a case's.
void check_forward_and_gradient(const std::function<Tensor(const Tensor&)>& f, const Json& golden_case) {
  const Json &in = golden_case.at("inputs"), &expected = golden_case.at("expected");
  Tensor x = tensor(in.at("x"));
  Tape tape;
  const Tape::Recording recording(tape);
  x.set_requires_grad(true);
  const Tensor y = f(x);
  CHECK(difference(y, tensor(expected.at("output"))) == "");
  tape.backward(test::weighted_sum(y, tensor(in.at("g"))));
  CHECK(difference(x.grad(), tensor(expected.at("input_grad")), kExact) == "");
}

Tensor tensor_of(const Floats& values) { return Tensor::from({static_cast<int64_t>(values.size())}, values); }

}  // namespace

TEST_CASE("golden 04a: straight-through quantization, fixed and learned clips") {
  for_each_case("04a_clipped", [](const Json&, const Json& c) {
    const Json& in = c.at("inputs");
    const std::string fn = c.at("fn");
    if (fn == "LinearQuantizeSTE") {
      const ChannelGrid params{{number(in.at("scale"))}, {number(in.at("zero_point"))}};
      const SteOptions options{.dequantize = in.at("dequantize")};
      check_forward_and_gradient([&](const Tensor& x) { return linear_quantize_ste(x, params, options); }, c);
    } else if (fn == "ClippedLinearQuantization") {
      ClippedLinearQuantization quantize(
          {.bits = in.at("num_bits"), .start = {number(in.at("clip_val"))}, .dequantize = in.at("dequantize")});
      check_forward_and_gradient([&](const Tensor& x) { return quantize(x); }, c);
    } else {
      REQUIRE(fn == "LearnedClippedLinearQuantization");
      LearnedClippedLinearQuantization quantize(in.at("num_bits"), {number(in.at("clip_val"))});
      check_forward_and_gradient([&](const Tensor& x) { return quantize(x); }, c);
      CHECK(difference(quantize.clip_val.raw().grad().item(), number(c.at("expected").at("clip_val_grad"))) == "");
    }
    return kCompared;
  });
}

TEST_CASE("on a fine grid the gradients of a learned clip are those of min(relu(x), clip)") {
  const Tensor x = tensor_of({-2, -0.3f, 0.2f, 0.7f, 1.3f, 1.8f, 2.5f, 4});
  CHECK(test::gradcheck(
            [](test::Inputs in) {
              LearnedClippedLinearQuantization quantize(20, {1});
              quantize.clip_val.set_raw(in[1]);
              return quantize(in[0]);
            },
            {x, tensor_of({1.5f})}) == "");
}

TEST_CASE("with both signs, on a fine grid, they are those of clamp(x, -clip, clip)") {
  const Tensor x = tensor_of({-4, -2.5f, -1.2f, -0.3f, 0.2f, 1.3f, 1.8f, 4});
  CHECK(test::gradcheck(
            [](test::Inputs in) {
              LearnedClippedLinearQuantization quantize(20, {1}, /*is_signed=*/true);
              quantize.clip_val.set_raw(in[1]);
              return quantize(in[0]);
            },
            {x, tensor_of({1.5f})}) == "");
  LearnedClippedLinearQuantization coarse(2, {1.5f}, /*is_signed=*/true);
  CHECK(difference(coarse(tensor_of({-4, -0.6f, 0.8f, 2})), tensor_of({-1.5f, 0, 1.5f, 1.5f})) == "");
  CHECK(test::error_of([] { LearnedClippedLinearQuantization(1, {1}, true); }).find("beside a sign") !=
        std::string::npos);
}

TEST_CASE("the gradient of a learned clip sums over large tensors, the same on every run") {
  const int64_t n = 100003;
  const Tensor x = Tensor::full({n}, 2);
  const auto gradient = [&] {
    LearnedClippedLinearQuantization quantize(4, {1});
    Tape tape;
    const Tape::Recording recording(tape);
    tape.backward(test::weighted_sum(quantize(x), test::integer_tensor({n}, 5)));
    return quantize.clip_val.raw().grad().item();
  };
  double expected = 0;
  for (const float g : test::integer_values(n, 5)) expected += g;
  CHECK(gradient() == static_cast<float>(expected));
  CHECK(gradient() == gradient());
}

TEST_CASE("a clip that is driven towards zero stops where there is still a grid, and grows again") {
  LearnedClippedLinearQuantization quantize(4, {1});
  Sgd optimizer({.lr = 1});
  optimizer.add_param_group({.name = "clip_val", .parameters = {&quantize.clip_val}});
  quantize.clip_val.raw().set_grad(tensor_of({1.5f}));
  optimizer.step();
  CHECK(quantize.clip_val.raw().item() == LearnedClippedLinearQuantization::kSmallestClip);
  optimizer.zero_grad();
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = quantize(tensor_of({-1, 0, 0.5f, 3}));
  CHECK(difference(y, tensor_of({0, 0, 1e-3f, 1e-3f})) == "");
  tape.backward(test::weighted_sum(y, tensor_of({1, 10, -100, -1000})));
  CHECK(quantize.clip_val.raw().grad().item() == -1100);
  optimizer.step();
  CHECK(quantize.clip_val.raw().item() > 1000);
}

TEST_CASE("a clip below zero is an error") {
  LearnedClippedLinearQuantization quantize(4, {1});
  quantize.clip_val.set_raw(tensor_of({-0.5f}));
  CHECK_THAT(test::error_of([&] { quantize(tensor_of({1})); }), Contains("the clipping value is -0.5"));
}

TEST_CASE("clipped outputs carry the integer grid they lie on") {
  const Tensor y = ClippedLinearQuantization({.bits = 4, .start = {6}})(tensor_of({1, 2}));
  REQUIRE(y.grid());
  CHECK(*y.grid() == Grid{2.5f, 0, 0, 15});
}

TEST_CASE("a clip with a sign has levels on both sides, zero and the ends among them") {
  ClippedLinearQuantization quantize({.bits = 3, .start = {1}, .is_signed = true});
  CHECK(difference(quantize(tensor_of({-2, -1, -0.3f, 0, 0.1f, 0.7f, 1})),
                   tensor_of({-1, -1, -1 / 3.0f, 0, 0, 2 / 3.0f, 1})) == "");
  CHECK(test::error_of([] { ClippedLinearQuantization({.bits = 1, .is_signed = true}); }).find("expected 2 bits") !=
        std::string::npos);
}

TEST_CASE("a clip without bits still clips, and is still learned") {
  LearnedClippedLinearQuantization quantize(4, {1});
  quantize.set_bits(std::nullopt);
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = quantize(tensor_of({-1, 0.123f, 3}));
  CHECK(difference(y, tensor_of({0, 0.123f, 1})) == "");
  tape.backward(test::weighted_sum(y, tensor_of({1, 10, 100})));
  CHECK(quantize.clip_val.raw().grad().item() == 100);
}

TEST_CASE("clipping values that are not positive are refused") {
  CHECK(test::error_of([] { LearnedClippedLinearQuantization(4, {0}); }) ==
        "clipped quantization: expected a positive clipping value, got 0");
  CHECK(test::error_of([] { ClippedLinearQuantization({.bits = 4, .start = {-1}}); }) ==
        "clipped quantization: expected a positive clipping value, got -1");
}

TEST_CASE("a learned clip that is no longer a number is an error") {
  const float bad = GENERATE(std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN());
  LearnedClippedLinearQuantization diverged(4, {1});
  diverged.clip_val.set_raw(tensor_of({bad}));
  CHECK_THROWS_WITH(diverged(tensor_of({1})), Contains("has training diverged?"));
}

}  // namespace clipped_test
