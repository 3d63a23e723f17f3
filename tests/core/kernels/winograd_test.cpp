// Winograd's convolutions: near the exact sums, and the same bits on every row and for every cut of the image.
#include "core/kernels/winograd/convolution.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/kernels/conv/pack.h"
#include "core/kernels/table.h"
#include "core/kernels/winograd/gradient.h"
#include "core/ops/conv_bands.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/conv_geometry.h"
#include "support/guarded.h"
#include "support/random_cases.h"
#include "support/values.h"

namespace winograd_test {

using namespace qgrad;
using namespace qgrad::test;

namespace {

ConvGeometry geometry(int64_t height, int64_t width, int64_t in, int64_t out) {
  return conv_geometry(height, width, in, out, 3, 1, 1, 1, 1, 0);
}

// Any sizes, paddings from negative to more than a window, outputs that begin and end anywhere, and gaps between them.
ConvGeometry random_geometry(uint64_t seed) {
  RandomStream random(seed, "winograd");
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  ConvGeometry g = geometry(from(1, 14), from(1, 14), from(16, 40), from(16, 70));
  g.padding_h = from(-3, 5), g.padding_w = from(-3, 5);
  g.out_h = from(1, 17), g.out_w = from(1, 17);
  g.pixel_pitch = g.out + from(0, 3);
  g.row_pitch = g.out_w * g.pixel_pitch + from(0, 5);
  return g;
}

struct Case {
  ConvGeometry g;
  Guarded<float> x, weight, packed, bias, addend, y, at_points;
  ConvForward call;
  ConvPanels taps{};

  explicit Case(const ConvGeometry& geometry)
      : g(geometry),
        x(guarded(normal_values(static_cast<size_t>(g.in_h * g.in_w * g.in), 1))),
        weight(guarded(normal_values(static_cast<size_t>(9 * g.in * g.out), 2))),
        packed(static_cast<size_t>(conv_packed_floats(g, forward_weight(g, weight.data()), 1))),
        bias(guarded(normal_values(static_cast<size_t>(g.out), 3))),
        addend(guarded(normal_values(outputs(), 4))),
        y(guarded(std::vector<float>(outputs(), 0.5f))),
        at_points(static_cast<size_t>(winograd_weight_floats(g))),
        call{.x = x.data(),
             .weight = {at_points.data(), 0, 0},
             .bias = bias.data(),
             .y = y.data(),
             .ending = {.addend = addend.data(), .clamps = true, .low = -7, .high = 9}} {
    taps = conv_panels(g, forward_weight(g, weight.data()), {packed.data(), packed.size()});
  }

  size_t outputs() const {
    return static_cast<size_t>((g.out_h - 1) * g.row_pitch + (g.out_w - 1) * g.pixel_pitch + g.out);
  }
  std::vector<float> run(const Kernels& row, int64_t threads) {
    std::ranges::fill(std::span(y.data(), y.size()), 0.5f);
    winograd_weights(row.winograd, g, taps, at_points.data());
    const WinogradUnits units = winograd_units(g, 1, threads);
    for (int64_t unit = units.count(); unit-- > 0;) run_winograd_unit(row.winograd, row.gemm, g, call, units, unit);
    return {y.span().begin(), y.span().end()};
  }

  // The same sums by the direct kernel.
  std::vector<float> direct() {
    Guarded<float> scratch(static_cast<size_t>(conv_scratch_floats(g, 1, g.out_h)));
    ConvForward whole = call;
    whole.weight = taps, whole.row_end = g.out_h, whole.scratch = scratch.data();
    kernels().conv.forward(g, whole);
    return {y.span().begin(), y.span().end()};
  }
};

double exact(const Case& c, int64_t row, int64_t column, int64_t channel) {
  const ConvGeometry& g = c.g;
  double sum = c.bias.data()[channel];
  for (int64_t h = 0; h < g.in_h; ++h)
    for (int64_t w = 0; w < g.in_w; ++w) {
      const int64_t kh = h - row + g.padding_h, kw = w - column + g.padding_w;
      const bool inside = kh >= 0 && kh < 3 && kw >= 0 && kw < 3;
      for (int64_t i = 0; inside && i < g.in; ++i)
        sum += double{c.x.data()[(h * g.in_w + w) * g.in + i]} *
               double{c.weight.data()[((kh * 3 + kw) * g.in + i) * g.out + channel]};
    }
  return sum;
}

// Distances from the exact sums: the root of the mean square, and the largest.
struct Errors {
  double mean = 0, largest = 0;
};
Errors errors(const Case& c, const std::vector<float>& y) {
  const ConvGeometry& g = c.g;
  Errors e;
  for (int64_t row = 0; row < g.out_h; ++row)
    for (int64_t column = 0; column < g.out_w; ++column)
      for (int64_t channel = 0; channel < g.out; ++channel) {
        const auto at = static_cast<size_t>(row * g.row_pitch + column * g.pixel_pitch + channel);
        const double error = std::fabs(double{y[at]} - exact(c, row, column, channel));
        e.largest = std::max(e.largest, error), e.mean += error * error;
      }
  e.mean = std::sqrt(e.mean / static_cast<double>(g.out_h * g.out_w * g.out));
  return e;
}

}  // namespace

TEST_CASE("Winograd's convolutions have the same bits on every instruction set and for every cut") {
  for (uint64_t seed = 0; seed < random_cases(60); ++seed) {
    Case c(random_geometry(seed));
    const std::vector<float> y = c.run(*available_kernels().front(), 1);
    for (const Kernels* row : available_kernels())
      for (const int64_t threads : {1, 2, 3, 16, 256}) {
        CAPTURE(seed, row->isa, threads);
        REQUIRE(bits(c.run(*row, threads)) == bits(y));
      }
  }
}

TEST_CASE("a batch of Winograd convolutions has the bits of its images") {
  constexpr int64_t kImages = 7;
  for (const ConvGeometry& g : {geometry(8, 8, 16, 20), geometry(9, 6, 33, 16), geometry(5, 7, 64, 96)}) {
    Case one(g);
    one.call.ending = {};
    const std::vector<float> x = normal_values(static_cast<size_t>(kImages * g.in_h * g.in_w * g.in), 5);
    const size_t outputs = static_cast<size_t>(g.out_h * g.row_pitch);
    std::vector<float> y(kImages * outputs);
    for (const Kernels* row : available_kernels())
      for (const int64_t threads : {1, 2, 5, 30}) {
        CAPTURE(g.in, g.out, row->isa, threads);
        winograd_weights(row->winograd, g, one.taps, one.at_points.data());
        ConvForward batch = one.call;
        batch.x = x.data(), batch.y = y.data();
        const WinogradUnits units = winograd_units(g, kImages, threads);
        CHECK((threads > 1 || units.images > 1));
        for (int64_t unit = 0; unit < units.count(); ++unit)
          run_winograd_unit(row->winograd, row->gemm, g, batch, units, unit);
        for (int64_t i = 0; i < kImages; ++i) {
          one.call.x = x.data() + i * g.in_h * g.in_w * g.in;
          const auto first = y.begin() + i * static_cast<int64_t>(outputs);
          REQUIRE(bits(std::vector<float>(first, first + static_cast<int64_t>(outputs))) == bits(one.run(*row, 1)));
        }
      }
  }
}

TEST_CASE("channels of a Winograd convolution are shared out where weights are many") {
  const ConvGeometry g = geometry(8, 8, 64, 88);
  const WinogradUnits units = winograd_units(g, 1, 3);
  CHECK(units.bands == 1);
  CHECK(units.parts == 3);
  CHECK(winograd_units(g, 1, 1).count() == 1);
  CHECK(winograd_units(geometry(8, 8, 16, 16), 1, 3).bands == 2);
  Case c(g);
  for (const Kernels* row : available_kernels()) CHECK(bits(c.run(*row, 3)) == bits(c.run(*row, 1)));
}

TEST_CASE("no part of the channels of a Winograd convolution is less than a vector") {
  for (int64_t out = 16; out < 300; ++out)
    for (const int64_t threads : {1, 2, 3, 7, 64}) {
      const ConvGeometry g = geometry(8, 8, 64, out);
      const WinogradUnits units = winograd_units(g, 1, threads);
      const ConvBands bands = winograd_gradient_bands(g, threads, /*part=*/false);
      CAPTURE(out, threads);
      REQUIRE(out - (units.parts - 1) * units.channels >= kWinogradChannels);
      REQUIRE(out - (bands.parts - 1) * bands.channels >= kWinogradChannels);
      REQUIRE((units.parts == 1 || units.channels % kPanel == 0));
      REQUIRE(out - (units.parts - 1) * units.channels < units.channels + kWinogradChannels);
    }
}

TEST_CASE("Winograd's sums are the convolution's at any size, padding and cut of the output") {
  for (uint64_t seed = 0; seed < random_cases(20); ++seed) {
    Case c(random_geometry(100 + seed));
    c.call.ending = {};
    CAPTURE(seed);
    REQUIRE(errors(c, c.run(kernels(), 1)).largest < 1e-5 * std::sqrt(9.0 * static_cast<double>(c.g.in)));
  }
}

TEST_CASE("Winograd's sums are nearly as exact as direct ones") {
  for (const int64_t channels : {16, 64, 256}) {
    Case c(geometry(8, 8, channels, 32));
    c.call.ending = {};
    const double mean = errors(c, c.run(kernels(), 1)).mean, direct = errors(c, c.direct()).mean;
    CAPTURE(channels, mean, direct);
    CHECK(mean < 3.5 * direct);   // 2.8, 2.1 and 2.0 times
    CHECK(mean > 0.25 * direct);  // so both are of one kind
  }
}

namespace {

// The gradient of the taps, of all channels at once or in parts.
struct GradientCase {
  static constexpr int64_t kImages = 5;
  ConvGeometry g;
  Guarded<float> x, dy;

  explicit GradientCase(const ConvGeometry& geometry)
      : g(geometry),
        x(guarded(normal_values(static_cast<size_t>(kImages * g.in_h * g.in_w * g.in), 1))),
        dy(guarded(normal_values(static_cast<size_t>(kImages * g.out_h * g.row_pitch), 2))) {}

  std::vector<float> run(const Kernels& row, int64_t parts) const {
    const WinogradGradient kernels{row.winograd, row.winograd_gradient, row.gemm_gradient};
    ConvBands bands = winograd_gradient_bands(g, kImages, /*part=*/false);
    bands.units = BatchChunks(bands.units.rows(bands.units.count() - 1).second, /*part=*/false, 1, 1 << 20);
    bands.channels = g.out / parts, bands.parts = parts;
    Guarded<float> dw(guarded(std::vector<float>(static_cast<size_t>((9 * g.in - 1) * g.pixel_pitch + g.out), 0.5f)));
    ConvWeightGradient all{.x = x.data(), .dy = dy.data(), .dw = dw.data(), .images = kImages};
    for (int64_t part = 0; part < parts; ++part) {
      const ConvGradientPart p = gradient_part(g, all, bands, part);
      Guarded<float> sums(guarded(std::vector<float>(static_cast<size_t>(winograd_sum_floats(p.geometry)))));
      for (int64_t chunk = 0; chunk < bands.units.count(); ++chunk)
        for_each_unit(p, bands, chunk, [&](const ConvWeightGradient& unit) {
          add_winograd_products(kernels, p.geometry, unit, sums.data());
        });
      winograd_tap_gradient(kernels, p.geometry, sums.data(), p.gradient.dw);
    }
    return {dw.span().begin(), dw.span().end()};
  }

  double exact(int64_t kh, int64_t kw, int64_t in, int64_t out) const {
    double sum = 0;
    for (int64_t image = 0; image < kImages; ++image)
      for (int64_t r = 0; r < g.out_h; ++r)
        for (int64_t c = 0; c < g.out_w; ++c) {
          const int64_t h = r - g.padding_h + kh, w = c - g.padding_w + kw;
          if (h < 0 || h >= g.in_h || w < 0 || w >= g.in_w) continue;
          sum += double{x.data()[((image * g.in_h + h) * g.in_w + w) * g.in + in]} *
                 double{dy.data()[(image * g.out_h + r) * g.row_pitch + c * g.pixel_pitch + out]};
        }
    return sum;
  }
};

}  // namespace

TEST_CASE("Winograd's weight gradients have the same bits on every row and in parts, and are near the exact ones") {
  for (uint64_t seed = 0; seed < random_cases(20); ++seed) {
    ConvGeometry g = random_geometry(seed);
    g.out += 16;  // enough for two parts
    g.pixel_pitch += 16, g.row_pitch = g.out_w * g.pixel_pitch + static_cast<int64_t>(seed % 3);
    const GradientCase c(g);
    const std::vector<float> dw = c.run(*available_kernels().front(), 1);
    for (const Kernels* row : available_kernels())
      for (const int64_t parts : {1, 2}) {
        CAPTURE(seed, row->isa, parts);
        REQUIRE(bits(c.run(*row, parts)) == bits(dw));
      }
    RandomStream random(seed, "taps");
    for (int i = 0; i < 100; ++i) {
      const int64_t kh = random.below(3), kw = random.below(3), in = random.below(static_cast<uint32_t>(g.in)),
                    out = random.below(static_cast<uint32_t>(g.out));
      const auto at = static_cast<size_t>(((kh * 3 + kw) * g.in + in) * g.pixel_pitch + out);
      const double terms = static_cast<double>(GradientCase::kImages * g.out_h * g.out_w);
      CAPTURE(seed, kh, kw, in, out);
      REQUIRE(std::fabs(double{dw[at]} - c.exact(kh, kw, in, out)) < 1e-5 * std::sqrt(terms));
    }
  }
}

TEST_CASE("Winograd's method is for undilated 3 x 3 convolutions of stride 1 with channels, tiles and few weights") {
  CHECK(winograd_suits(geometry(8, 8, 16, 16)));
  CHECK(winograd_suits(geometry(14, 14, 256, 256)));
  CHECK_FALSE(winograd_suits(geometry(14, 14, 256, 272)));
  CHECK_FALSE(winograd_suits(geometry(8, 8, 15, 16)));
  CHECK_FALSE(winograd_suits(geometry(8, 8, 16, 15)));
  CHECK_FALSE(winograd_suits(geometry(4, 12, 16, 16)));
  for (int64_t ConvGeometry::*number :
       {&ConvGeometry::kernel_h, &ConvGeometry::kernel_w, &ConvGeometry::stride_h, &ConvGeometry::stride_w,
        &ConvGeometry::dilation_h, &ConvGeometry::dilation_w, &ConvGeometry::groups}) {
    ConvGeometry g = geometry(8, 8, 16, 16);
    g.*number = 2;
    CHECK_FALSE(winograd_suits(g));
  }
}

}  // namespace winograd_test
