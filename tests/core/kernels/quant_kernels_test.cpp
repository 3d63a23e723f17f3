// Quantization kernels against their formulas, on every instruction set.
#include "core/kernels/table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "support/catch.h"
#include "support/guarded.h"
#include "support/values.h"

namespace quant_kernels_test {

using namespace qgrad;
using namespace qgrad::test;

namespace {

const float kInfinity = std::numeric_limits<float>::infinity();

float reference(float x, const QuantGrid& g) {
  const float inside = std::min(std::max(x, g.low), g.high);
  const float scaled = g.scale * inside;
  return std::min(std::max(std::nearbyint(scaled - g.zero_point), g.qmin), g.qmax);
}

// Numbers that matter: ties, both zeros, beyond the limits, infinities.
std::vector<float> awkward_values(size_t n) {
  std::vector<float> x = normal_values(n, 1, 3.0f);
  const float special[] = {0.0f, -0.0f, 0.5f, -0.5f, 1.5f, 2.5f, -1.5f, 1e30f, -1e30f, kInfinity, -kInfinity, 1e-30f};
  for (size_t i = 0; i < n; i += 3) x[i] = special[(i / 3) % std::size(special)];
  return x;
}

const QuantGrid kGrids[] = {
    {.scale = 1},
    {.scale = 12.7f, .zero_point = -3.0f, .low = -2.0f, .high = 2.5f},
    {.scale = 0.37f, .zero_point = 4.0f, .qmin = 0, .qmax = 15},
    {.scale = 31.0f / 3.0f, .zero_point = 0.25f, .low = -1, .high = 1, .qmin = -128, .qmax = 127}};

// Per-channel parameters that differ from channel to channel.
struct ChannelParameters {
  std::vector<float> scale, zero_point;
  explicit ChannelParameters(size_t channels)
      : scale(uniform_values(channels, 2, 0.5f, 20.0f)), zero_point(uniform_values(channels, 3, -4.0f, 4.0f)) {}
};

}  // namespace

TEST_CASE("quantize follows its formula on every instruction set") {
  for (const Kernels* isa : available_kernels())
    for (const QuantGrid& grid : kGrids)
      for (const size_t n : edge_sizes()) {
        const std::vector<float> x = awkward_values(n);
        std::vector<float> expected(n);
        for (size_t i = 0; i < n; ++i) expected[i] = reference(x[i], grid);
        for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
          const auto in = guarded(x, guard);
          Guarded<float> out(n, guard);
          isa->quantize.quantize(in.data(), out.data(), n, grid);
          INFO(isa->isa << ", n = " << n);
          REQUIRE(bits(out.span()) == bits(expected));
        }
      }
}

TEST_CASE("fake_quant equals quantize then dequantize, also in place and streaming") {
  for (const Kernels* isa : available_kernels())
    for (const QuantGrid& grid : kGrids)
      for (const size_t n : edge_sizes()) {
        const std::vector<float> x = awkward_values(n);
        std::vector<float> expected(n);
        for (size_t i = 0; i < n; ++i) expected[i] = (reference(x[i], grid) + grid.zero_point) / grid.scale;
        for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
          INFO(isa->isa << ", n = " << n);
          auto in_place = guarded(x, guard);
          Guarded<float> plain(n, guard), streamed(n, guard), steps(n, guard);
          isa->quantize.fake_quant(in_place.data(), plain.data(), n, grid);
          REQUIRE(bits(plain.span()) == bits(expected));
          isa->quantize.fake_quant_streaming(in_place.data(), streamed.data(), n, grid);
          REQUIRE(bits(streamed.span()) == bits(expected));
          isa->quantize.quantize(in_place.data(), steps.data(), n, grid);
          isa->quantize.dequantize(steps.data(), steps.data(), n, grid.scale, grid.zero_point);
          REQUIRE(bits(steps.span()) == bits(expected));
          isa->quantize.fake_quant(in_place.data(), in_place.data(), n, grid);
          REQUIRE(bits(in_place.span()) == bits(expected));
        }
      }
}

TEST_CASE("per-channel quantization gives each channel its own grid") {
  for (const Kernels* isa : available_kernels())
    for (const size_t channels : edge_sizes())
      for (const size_t rows : {0, 1, 2, 3, 7, 8, 9}) {
        const ChannelParameters p(channels);
        const ChannelQuantGrid grid{
            .scale = p.scale.data(), .zero_point = p.zero_point.data(), .qmin = -16, .qmax = 15};
        const auto x = guarded(awkward_values(rows * channels));
        std::vector<float> integers(x.size()), fake(x.size());
        for (size_t i = 0; i < x.size(); ++i) {
          const size_t c = i % channels;
          const QuantGrid one{.scale = p.scale[c], .zero_point = p.zero_point[c], .qmin = -16, .qmax = 15};
          integers[i] = reference(x.data()[i], one);
          fake[i] = (integers[i] + one.zero_point) / one.scale;
        }
        INFO(isa->isa << ", rows = " << rows << ", channels = " << channels);
        Guarded<float> out(x.size());
        isa->quantize.quantize_channels(x.data(), out.data(), rows, channels, grid);
        REQUIRE(bits(out.span()) == bits(integers));
        isa->quantize.dequantize_channels(out.data(), out.data(), rows, channels, grid.scale, grid.zero_point);
        REQUIRE(bits(out.span()) == bits(fake));
        isa->quantize.fake_quant_channels(x.data(), out.data(), rows, channels, grid);
        REQUIRE(bits(out.span()) == bits(fake));
      }
}

TEST_CASE("the straight-through mask keeps gradients at both ends of the range and drops those outside") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      std::vector<float> x = normal_values(n, 1);
      for (size_t i = 0; i < n; i += 4) x[i] = (i % 8) ? 0.5f : -0.75f;
      const std::vector<float> dy = normal_values(n, 2);
      std::vector<float> expected(n);
      for (size_t i = 0; i < n; ++i) expected[i] = x[i] >= -0.75f && x[i] <= 0.5f ? dy[i] : 0.0f;
      INFO(isa->isa << ", n = " << n);
      for (const Guard guard : {Guard::end, Guard::one_past_begin}) {
        const auto in = guarded(x, guard);
        auto gradient = guarded(dy, guard);
        isa->quantize.mask_outside(in.data(), gradient.data(), gradient.data(), n, -0.75f, 0.5f);
        REQUIRE(bits(gradient.span()) == bits(expected));
      }
    }
}

TEST_CASE("min_max finds both extremes wherever they stand") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      std::vector<float> x = normal_values(n, 1);
      for (size_t at = 0; at < n; at += 1 + n / 40) {
        const float kept = std::exchange(x[at], at % 2 ? 100.0f : -100.0f);
        const auto in = guarded(x, at % 3 ? Guard::end : Guard::one_past_begin);
        float low = 0, high = 0;
        isa->quantize.min_max(in.data(), n, &low, &high);
        INFO(isa->isa << ", n = " << n << ", at " << at);
        REQUIRE(low == *std::ranges::min_element(x));
        REQUIRE(high == *std::ranges::max_element(x));
        x[at] = kept;
      }
    }
}

TEST_CASE("min_max ignores NaN, answers +0 for zeros and an empty range for nothing") {
  for (const Kernels* isa : available_kernels()) {
    float low = 0, high = 0;
    isa->quantize.min_max(nullptr, 0, &low, &high);
    CHECK((low == kInfinity && high == -kInfinity));
    std::vector<float> x(50, std::nanf(""));
    x[3] = 1;
    x[41] = -2;
    isa->quantize.min_max(x.data(), x.size(), &low, &high);
    CHECK((low == -2 && high == 1));
    const std::vector<float> zeros(40, -0.0f);
    isa->quantize.min_max(zeros.data(), zeros.size(), &low, &high);
    CHECK((!std::signbit(low) && !std::signbit(high)));
  }
}

TEST_CASE("min_max per channel equals min_max of each column") {
  for (const Kernels* isa : available_kernels())
    for (const size_t channels : edge_sizes())
      for (const size_t rows : {1, 2, 17}) {
        const auto x = guarded(normal_values(rows * channels, 7));
        Guarded<float> low(channels), high(channels);
        isa->quantize.min_max_channels(x.data(), rows, channels, low.data(), high.data());
        for (size_t c = 0; c < channels; ++c) {
          float expected_low = kInfinity, expected_high = -kInfinity;
          for (size_t r = 0; r < rows; ++r) {
            expected_low = std::min(expected_low, x.data()[r * channels + c]);
            expected_high = std::max(expected_high, x.data()[r * channels + c]);
          }
          REQUIRE(low.data()[c] == expected_low);
          REQUIRE(high.data()[c] == expected_high);
        }
      }
}

TEST_CASE("levels at any distances are the nearest ones on every instruction set") {
  const float levels[] = {-1, -0.25f, 0, 0.25f, 0.5f, 1}, thresholds[] = {-0.625f, -0.125f, 0.125f, 0.375f, 0.75f};
  const LevelGrid grid{levels, thresholds, 6, 1.5f};
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      const std::vector<float> x = awkward_values(n);
      std::vector<float> expected(n);
      for (size_t i = 0; i < n; ++i) {
        const auto k = std::ranges::lower_bound(thresholds, x[i] / 1.5f) - thresholds;
        expected[i] = 1.5f * (levels[k] + 0.0f);
      }
      INFO(isa->isa << ", n = " << n);
      for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
        auto in = guarded(x, guard);
        Guarded<float> out(n, guard);
        isa->quantize.to_levels(in.data(), out.data(), n, grid);
        REQUIRE(bits(out.span()) == bits(expected));
        isa->quantize.to_levels(in.data(), in.data(), n, grid);
        REQUIRE(bits(in.span()) == bits(expected));
      }
    }
}

TEST_CASE("the gradients of a learned grid have the same bits on every instruction set, and are their sums") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes()) {
      std::vector<float> x = normal_values(n, 1), y = normal_values(n, 2), dy = normal_values(n, 3);
      for (size_t i = 0; i < n; i += 5) x[i] = (i % 2) ? -0.5f : 0.75f;
      std::vector<float> expected(n);
      GridSums sums;
      for (size_t i = 0; i < n; ++i) {
        expected[i] = x[i] > -0.5f && x[i] < 0.75f ? dy[i] : 0.0f;
        sums.inside += double{expected[i]} * (double{y[i]} - double{x[i]});
        sums.below += x[i] <= -0.5f ? double{dy[i]} : 0;
        sums.above += x[i] >= 0.75f ? double{dy[i]} : 0;
      }
      INFO(isa->isa << ", n = " << n);
      for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
        const auto in = guarded(x, guard), out = guarded(y, guard);
        auto gradient = guarded(dy, guard);
        const auto scalar = available_kernels()[0]->quantize.learned_backward;
        Guarded<float> theirs(n, guard);
        const GridSums reference = scalar(in.data(), out.data(), gradient.data(), theirs.data(), n, -0.5f, 0.75f);
        const GridSums got =
            isa->quantize.learned_backward(in.data(), out.data(), gradient.data(), gradient.data(), n, -0.5f, 0.75f);
        REQUIRE(bits(gradient.span()) == bits(expected));
        REQUIRE(std::tie(got.inside, got.below, got.above) ==
                std::tie(reference.inside, reference.below, reference.above));
        CHECK(got.inside == Approx(sums.inside).epsilon(1e-5).margin(1e-5));
        CHECK(got.below == Approx(sums.below).epsilon(1e-5).margin(1e-5));
        CHECK(got.above == Approx(sums.above).epsilon(1e-5).margin(1e-5));
      }
    }
}

}  // namespace quant_kernels_test
