// Straight-through quantization: values, gradients, metadata.
#include "quant/train/ste.h"

#include "core/error.h"
#include "core/tape.h"
#include "support/catch.h"
#include "support/values.h"
#include "support/weighted_sum.h"

using namespace qgrad;
using test::values;
using Floats = std::vector<float>;

namespace {

// Gradient of sum(y * g) with respect to x, where y = quantized x.
Tensor gradient(Tensor x, const Tensor& g, const ChannelGrid& grid, const SteOptions& options = {}) {
  Tape tape;
  const Tape::Recording recording(tape);
  x.set_requires_grad(true);
  tape.backward(test::weighted_sum(linear_quantize_ste(x, grid, options), g));
  return x.grad();
}

const QuantizedRange kSigned4{-8, 7};

}  // namespace

TEST_CASE("quantized values are steps of the grid, rounded half to even") {
  const Tensor x = Tensor::from({6}, Floats{0.2f, 0.25f, 0.75f, -0.25f, 1.3f, -1.3f});
  CHECK(values(linear_quantize_ste(x, {{2}, {0}}, {})) == Floats{0, 0, 1, -0.0f, 1.5f, -1.5f});
}

TEST_CASE("without integer range a symmetric grid reaches one level too many, with it the largest integer") {
  const Tensor x = Tensor::from({2}, Floats{-1, 1});
  const Grid p = symmetric_grid(2, 1, false);  // 1.5 levels a side: +-1 lies on a tie
  const ChannelGrid params{{p.scale}, {p.zero_point}};
  CHECK(values(linear_quantize_ste(x, params, {.dequantize = false})) == Floats{-2, 2});
  CHECK(values(linear_quantize_ste(x, p, {.dequantize = false})) == Floats{-2, 1});
}

TEST_CASE("the gradient passes straight through, also where the integer was clamped") {
  const Tensor x = test::normal_tensor({5, 7}, 1, 3), g = test::normal_tensor({5, 7}, 2);
  CHECK(values(gradient(x, g, {{2}, {0}, kSigned4})) == values(g));
}

TEST_CASE("the gradient is zero outside the saturation range and one at its ends") {
  const Tensor x = Tensor::from({6}, Floats{-1.5f, -1, 0, 0.999f, 1, 1.001f});
  const Tensor g = Tensor::from({6}, Floats{1, 2, 3, 4, 5, 6});
  CHECK(values(gradient(x, g, {{7}, {0}}, {.saturation = ValueRange{-1, 1}})) == Floats{0, 2, 3, 4, 5, 0});
}

TEST_CASE("per-channel quantization treats every channel like a tensor of its own") {
  const Tensor x = test::normal_tensor({4, 3, 5}, 3, 2);
  const ChannelGrid grid{{1, 2, 3, 4, 5}, {0, 1, -1, 2, 0}, kSigned4};
  const Tensor y = linear_quantize_ste(x, grid);
  for (size_t i = 0; i < y.data().size(); ++i) {
    const size_t c = i % 5;
    const Tensor one = linear_quantize_ste(Tensor::scalar(x.data()[i]), grid.channel(c));
    CHECK(y.data()[i] == one.item());
  }
  CHECK_THROWS_WITH(linear_quantize_ste(Tensor::zeros({5, 3}), grid), Contains("do not fit"));
  CHECK_THROWS_WITH(linear_quantize_ste(x, grid, {.saturation = ValueRange{-1, 1}}), Contains("for one scale"));
}

TEST_CASE("a result on an integer grid says which") {
  const Tensor x = Tensor::full({3}, 0.4f);
  const auto metadata = linear_quantize_ste(x, {{10}, {-2}, kSigned4}).grid();
  REQUIRE(metadata.has_value());
  CHECK(*metadata == Grid{10, -2, -8, 7});
  CHECK_FALSE(linear_quantize_ste(x, {{10}, {-2}}, {}).grid().has_value());
}

TEST_CASE("a gradient that others still need is not overwritten") {
  const Tensor x = Tensor::from({2}, Floats{-2, 0.5f});
  const Tensor g = Tensor::from({2}, Floats{3, 4});
  gradient(x, g, {{7}, {0}}, {.saturation = ValueRange{-1, 1}});
  CHECK(values(g) == Floats{3, 4});
}
