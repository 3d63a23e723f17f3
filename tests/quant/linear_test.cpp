// Scale, zero point, quantize and dequantize: golden vectors and the rules they follow.
#include "quant/affine.h"
#include "quant/ranges/ranges.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/ops.h"
#include "core/tape.h"
#include "quant/settings.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/modes.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

// A scalar, or the numbers of a tensor.
std::vector<float> numbers(const Json& value) {
  const Tensor t = tensor(value);
  return {t.data().begin(), t.data().end()};
}

Tensor vector_of(const std::vector<float>& values) {
  return Tensor::from({static_cast<int64_t>(values.size())}, values);
}

// A golden tensor whose channels are its first dimension, with the channels last: [C, rest] -> [rest, C].
Tensor channels_last(const Json& value) {
  const Tensor t = tensor(value);
  const int order[] = {1, 0};
  return transpose(t.reshaped({t.dim(0), t.numel() / t.dim(0)}), order);
}

Grid golden_params(const std::string& fn, const Json& in, size_t i) {
  const int bits = in.at("num_bits");
  if (fn == "symmetric_linear_quantization_params")
    return symmetric_grid(bits, numbers(in.at("saturation_val")).at(i), in.at("restrict_qrange"));
  const std::vector<float> min = numbers(in.at("saturation_min")), max = numbers(in.at("saturation_max"));
  return asymmetric_grid(bits, min.at(min.size() == 1 ? 0 : i), max.at(max.size() == 1 ? 0 : i),
                         {.is_signed = in.at("signed"), .integral_zero_point = in.at("integral_zero_point")});
}

// The elements of a golden params case: the longer of its arguments (one may be a scalar beside a tensor).
size_t element_count(const Json& in) {
  size_t count = 0;
  for (const char* key : {"saturation_val", "saturation_min", "saturation_max"})
    if (in.contains(key)) count = std::max(count, numbers(in.at(key)).size());
  return count;
}

}  // namespace

TEST_CASE("golden 01a: scale and zero point of saturation values, integer ranges") {
  for_each_case("01a_quant_params", [](const Json&, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const std::string fn = c.at("fn");
    if (fn == "get_quantized_range") {
      const bool is_signed = in.at("signed"), restricted = in.at("signed_restrict_qrange");
      const LinearQuantMode mode = !is_signed   ? LinearQuantMode::asymmetric_unsigned
                                   : restricted ? LinearQuantMode::symmetric_restricted
                                                : LinearQuantMode::symmetric;
      const QuantizedRange range = quantized_range(in.at("num_bits"), mode);
      CHECK(range.qmin == number(expected.at("min")));
      CHECK(range.qmax == number(expected.at("max")));
      return kCompared;
    }
    const auto compute = [&] {
      std::vector<float> scale, zero_point;
      for (size_t i = 0; i < element_count(in); ++i) {
        const Grid grid = golden_params(fn, in, i);
        scale.push_back(grid.scale);
        zero_point.push_back(grid.zero_point);
      }
      return std::pair(vector_of(scale), vector_of(zero_point));
    };
    if (raises(expected)) {
      CHECK_THROWS_AS(compute(), Error);
    } else {
      const auto [scale, zero_point] = compute();
      CHECK(difference(scale, vector_of(numbers(expected.at("scale"))), kExact) == "");
      CHECK(difference(zero_point, vector_of(numbers(expected.at("zero_point"))), kExact) == "");
    }
    return kCompared;
  });
}

TEST_CASE("golden 01b: quantize, clamp and dequantize") {
  for_each_case("01b_linear_quantize", [](const Json&, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const ChannelGrid params{numbers(in.at("scale")), numbers(in.at("zero_point"))};
    const auto read = [&](const Json& value) { return params.per_channel() ? channels_last(value) : tensor(value); };
    const Tensor x = read(in.at("x"));
    const Tensor clamped =
        linear_quantize(x, {params.scale, params.zero_point, {number(in.at("clamp_min")), number(in.at("clamp_max"))}});
    CHECK(difference(linear_quantize(x, params), read(expected.at("linear_quantize")), kExact) == "");
    CHECK(difference(clamped, read(expected.at("linear_quantize_clamp")), kExact) == "");
    CHECK(difference(linear_dequantize(clamped, params), read(expected.at("linear_dequantize_of_clamped")), kExact) ==
          "");
    return kCompared;
  });
}

TEST_CASE("golden 01e: scales as multiplier and shift, values that integer ranges stand for") {
  for_each_case("01e_scale_approx", [](const Json&, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    if (in.contains("mode")) {
      const LinearQuantMode mode = test::mode_named(in.at("mode"));
      if (mode != LinearQuantMode::symmetric && mode != LinearQuantMode::asymmetric_unsigned)
        return skipped("of modes where the original takes the wrong integer range");
      const ValueRange range = representable_range(
          grid_of({number(in.at("scale")), number(in.at("zero_point"))}, {.bits = in.at("num_bits"), .mode = mode}));
      CHECK(difference(range.min, number(expected.at("min"))) == "");
      CHECK(difference(range.max, number(expected.at("max"))) == "");
      return kCompared;
    }
    if (in.value("limit", false)) return skipped("with \"limit\", which nothing uses");
    const std::vector<float> scales = numbers(in.at("scale")), shifts = numbers(expected.at("shift_bits")),
                             multipliers = numbers(expected.at("multiplier")),
                             approximations = numbers(expected.at("approx_scale"));
    for (size_t i = 0; i < scales.size(); ++i) {
      const ScaleApproximation approximation = approximate_scale(scales[i], in.at("mult_bits"));
      CHECK(static_cast<float>(approximation.shift) == shifts[i]);
      CHECK(approximation.multiplier == multipliers[i]);
      CHECK(approximation.value() == approximations[i]);
    }
    return kCompared;
  });
}

TEST_CASE("a range of zeros quantizes with scale 1") {
  CHECK(symmetric_grid(8, 0, false).scale == 1);
  const Grid params = asymmetric_grid(4, 0, 0);
  CHECK(params.scale == 1);
  CHECK(params.zero_point == 0);
}

TEST_CASE("levels around zero end at the range, one bit has two, and a range of zeros has them next to zero") {
  const Grid two = grid_from_range(2, LinearQuantMode::symmetric_midrise, -0.5f, 3);
  CHECK(representable_range(two).min == -3);
  CHECK(representable_range(two).max == 3);
  CHECK(linear_quantize(Tensor::from({4}, std::vector{-9.0f, -0.1f, 0.1f, 2.5f}), two).data()[1] == -1);
  const Grid one = grid_from_range(1, LinearQuantMode::symmetric_midrise, -1, 1);
  CHECK(representable_range(one).max == 1);
  CHECK(representable_range(grid_from_range(4, LinearQuantMode::symmetric_midrise, 0, 0)).max < 1e-36f);
}

TEST_CASE("zero is always representable in asymmetric modes") {
  const Grid grid = asymmetric_grid(8, 2, 6);
  CHECK(grid.zero_point == 0);
  CHECK(grid.scale == Approx(255.0 / 6));
}

TEST_CASE("ranges that make no sense are errors") {
  CHECK_THROWS_WITH(symmetric_grid(8, -1, false), Contains("not negative, got -1"));
  CHECK_THROWS_WITH(asymmetric_grid(8, 2, 1), Contains("minimum 2 is above its maximum 1"));
  CHECK_THROWS_WITH(asymmetric_grid(0, 0, 1), Contains("expected 1 to 32 bits, got 0"));
  for (const LinearQuantMode mode : {LinearQuantMode::symmetric, LinearQuantMode::symmetric_restricted})
    CHECK_THROWS_WITH(grid_from_range(1, mode, -1, 1), Contains("needs 2 bits"));
}

TEST_CASE("per-channel parameters belong to the last dimension") {
  const Tensor x = Tensor::from({2, 3}, std::vector<float>{1, 1, 1, 2, 2, 2});
  const ChannelGrid params{{1, 10, 100}, {0, 1, 2}};
  const Tensor q = linear_quantize(x, params);
  CHECK(test::values(q) == std::vector<float>{1, 9, 98, 2, 19, 198});
  CHECK(test::values(linear_dequantize(q, params)) == test::values(x));
  CHECK_THROWS_WITH(linear_quantize(Tensor::zeros({3, 2}), params), Contains("3 scales do not fit"));
}

TEST_CASE("backward through plain quantization says what to use instead") {
  Tape tape;
  const Tape::Recording recording(tape);
  Tensor x = Tensor::scalar(0.3f);
  x.set_requires_grad(true);
  const Tensor loss = linear_quantize(x, {});
  CHECK_THROWS_WITH(tape.backward(loss), Contains("linear_quantize_ste"));
}

TEST_CASE("scales that cannot be approximated are errors") {
  CHECK_THROWS_AS(approximate_scale(0, 8), Error);
  CHECK_THROWS_AS(approximate_scale(std::numeric_limits<float>::infinity(), 8), Error);
  CHECK_THROWS_AS(approximate_scale(1, 0), Error);
}
