// Integer layers' kernels against their formulas, on every instruction set.
#include "core/kernels/table.h"

#include <cmath>

#include "support/catch.h"
#include "support/guarded.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

const IntegerGrid kGrid{.scale = 12.7f, .divisor = 1.3f, .zero_point = -3, .qmin = -128, .qmax = 127};
const Requantization kOutput{
    .low = -40, .divisor = 0.9f, .grid = {.scale = 7.3f, .divisor = 1.7f, .zero_point = 5, .qmin = -128, .qmax = 127}};
constexpr float kRescale = 0.37f, kLow = -100, kHigh = 90;

float to_integer(float x) {
  const float scaled = kGrid.scale * x / kGrid.divisor;
  return std::min(std::max(std::nearbyint(scaled - kGrid.zero_point), kGrid.qmin), kGrid.qmax) + kGrid.zero_point;
}

float requantized(float accumulator, float rescale, float high) {
  const IntegerGrid& grid = kOutput.grid;
  const float scaled = rescale * std::min(std::max(accumulator, kOutput.low), high) / kOutput.divisor;
  const float q = std::min(std::max(std::nearbyint(scaled - grid.zero_point), grid.qmin), grid.qmax);
  return (q + grid.zero_point) * grid.divisor / grid.scale;
}

// Beyond every limit now and then, and with ties.
std::vector<float> values(size_t n) {
  std::vector<float> x = normal_values(n, 1, 30.0f);
  for (size_t i = 0; i < n; i += 5) x[i] = std::nearbyint(x[i]) + 0.5f;
  for (size_t i = 2; i < n; i += 7) x[i] *= 1000;
  return x;
}

}  // namespace

TEST_CASE("to_integers puts numbers on the grid without its zero point, on another grid, and back to values") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes())
      for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
        auto x = guarded(values(n), guard);
        std::vector<float> integers(n), rescaled(n), real(n);
        for (size_t i = 0; i < n; ++i) {
          integers[i] = to_integer(x.data()[i]);
          rescaled[i] = std::min(std::max(std::nearbyint(kRescale * integers[i]), kLow), kHigh);
          real[i] = integers[i] * kGrid.divisor / kGrid.scale;
        }
        INFO(isa->isa << ", n = " << n);
        Guarded<float> y(n, guard);
        isa->integer.to_integers_rescaled(x.data(), y.data(), n, kGrid, kRescale, kLow, kHigh);
        REQUIRE(bits(y.span()) == bits(rescaled));
        isa->integer.fake_quant(x.data(), y.data(), n, kGrid);
        REQUIRE(bits(y.span()) == bits(real));
        isa->integer.to_integers(x.data(), x.data(), n, kGrid);
        REQUIRE(bits(x.span()) == bits(integers));
      }
}

TEST_CASE("requantize brings accumulators to the output's grid, in place") {
  for (const Kernels* isa : available_kernels())
    for (const size_t n : edge_sizes())
      for (const Guard guard : {Guard::end, Guard::begin, Guard::one_past_begin}) {
        auto x = guarded(values(n), guard);
        std::vector<float> expected(n);
        for (size_t i = 0; i < n; ++i) expected[i] = requantized(x.data()[i], kRescale, kHigh);
        isa->integer.requantize(x.data(), x.data(), n, kRescale, kHigh, kOutput);
        INFO(isa->isa << ", n = " << n);
        REQUIRE(bits(x.span()) == bits(expected));
      }
}

TEST_CASE("requantize_channels rescales and cuts each channel by its own numbers") {
  for (const Kernels* isa : available_kernels())
    for (const size_t channels : edge_sizes())
      for (const size_t rows : {0, 1, 2, 9}) {
        const std::vector<float> rescale = uniform_values(channels, 2, 0.1f, 2.0f),
                                 high = uniform_values(channels, 3, 5, 90);
        auto x = guarded(values(rows * channels));
        std::vector<float> expected(x.size());
        for (size_t i = 0; i < x.size(); ++i)
          expected[i] = requantized(x.data()[i], rescale[i % channels], high[i % channels]);
        isa->integer.requantize_channels(x.data(), x.data(), rows, channels, rescale.data(), high.data(), kOutput);
        INFO(isa->isa << ", rows = " << rows << ", channels = " << channels);
        REQUIRE(bits(x.span()) == bits(expected));
      }
}
