// Every convolution kernel against the scalar one, at the edges of buffers and tiles.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/kernels/conv/pack.h"
#include "core/kernels/table.h"
#include "core/ops/conv_bands.h"
#include "core/random.h"
#include "support/catch.h"
#include "support/conv_geometry.h"
#include "support/guarded.h"
#include "support/random_cases.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

std::vector<float> numbers(int64_t n, uint64_t seed) { return normal_values(static_cast<size_t>(n), seed); }

// Borders of one position, and what ConvGeometry allows beyond ordinary convolutions: negative paddings and pitches
// that leave gaps.
std::vector<ConvGeometry> geometries() {
  std::vector<ConvGeometry> all;
  for (const int64_t out : {1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 64})
    all.push_back(conv_geometry(5, 4, 3, out, 3, 1, 1, 1, 1, 0));
  for (int64_t width = 1; width <= 14; ++width) all.push_back(conv_geometry(3, width, 2, 16, 1, 1, 0, 1, 1, 0));
  for (int64_t width = 1; width <= 14; ++width) all.push_back(conv_geometry(3, width, 2, 16, 3, 1, 1, 1, 1, 5));
  for (int64_t in = 1; in <= 14; ++in) all.push_back(conv_geometry(4, 5, in, 8, 3, 2, 1, 1, 1, 0));
  for (const int64_t channels : {16, 32, 64}) all.push_back(conv_geometry(8, 8, channels, channels, 3, 1, 1, 1, 1, 0));
  all.push_back(conv_geometry(9, 9, 4, 20, 3, 1, -1, 1, 1, 3));
  all.push_back(conv_geometry(9, 9, 4, 20, 2, 3, -2, 2, 1, 0));
  all.push_back(conv_geometry(7, 9, 6, 18, 3, 2, 2, 2, 2, 0));
  all.push_back(conv_geometry(6, 6, 6, 12, 3, 1, 1, 1, 6, 1));
  return all;
}

// With more weights than one piece takes: rows of taps apart, parts of a row, runs of it (dilation, groups).
std::vector<ConvGeometry> deep_geometries() {
  return {conv_geometry(5, 4, 130, 70, 3, 1, 1, 1, 1, 0),   conv_geometry(5, 4, 400, 37, 3, 2, 1, 1, 1, 1),
          conv_geometry(6, 7, 300, 16, 3, 1, 2, 2, 1, 0),   conv_geometry(4, 4, 600, 66, 3, 1, 1, 1, 2, 0),
          conv_geometry(3, 3, 1200, 130, 1, 1, 0, 1, 1, 0), conv_geometry(1, 2, 500, 20, 3, 1, 3, 1, 1, 0),
          conv_geometry(40, 40, 1, 17, 33, 1, 0, 1, 1, 0)};
}

std::vector<ConvGeometry> depthwise_geometries() {
  std::vector<ConvGeometry> all;
  for (const int64_t channels : {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48})
    all.push_back(conv_geometry(5, 6, channels, channels, 3, 1, 1, 1, channels, 0));
  for (const int64_t stride : {1, 2, 3})
    for (const int64_t dilation : {1, 2})
      for (int64_t padding = -1; padding <= 2; ++padding)
        all.push_back(conv_geometry(9, 11, 19, 19, 3, stride, padding, dilation, 19, 2));
  return all;
}

// Windows of any kind that begin within the padding and the image, as far as they go beyond its end.
ConvGeometry random_geometry(uint64_t seed, bool depthwise) {
  RandomStream random(seed, depthwise ? "depthwise geometry" : "geometry");
  const auto from = [&](int64_t low, int64_t high) {
    return low + random.below(static_cast<uint32_t>(high - low + 1));
  };
  ConvGeometry g{.in_h = from(1, 9), .in_w = from(1, 18), .groups = from(1, 4) == 1 ? from(2, 3) : 1};
  g.in = g.groups * from(1, 20), g.out = g.groups * from(1, 40);
  if (depthwise) g.groups = g.in = g.out;
  g.kernel_h = from(1, 4), g.kernel_w = from(1, 5);
  g.stride_h = from(1, 3), g.stride_w = from(1, 3);
  g.dilation_h = from(1, 3), g.dilation_w = from(1, 2);
  g.padding_h = from(std::max<int64_t>(-2, 1 - g.in_h), 4), g.padding_w = from(std::max<int64_t>(-2, 1 - g.in_w), 4);
  g.out_h = from(1, (g.in_h + g.padding_h - 1) / g.stride_h + 1);
  g.out_w = from(1, (g.in_w + g.padding_w - 1) / g.stride_w + 1);
  g.pixel_pitch = g.out + from(0, 3);
  g.row_pitch = g.out_w * g.pixel_pitch + from(0, 5);
  return g;
}

std::vector<ConvGeometry> random_geometries(bool depthwise) {
  std::vector<ConvGeometry> all;
  for (uint64_t seed = 0; seed < random_cases(100); ++seed) all.push_back(random_geometry(seed, depthwise));
  return all;
}

using Forward = void (*)(const ConvGeometry&, const ConvForward&);
using WeightGradient = void (*)(const ConvGeometry&, const ConvWeightGradient&);

struct Rows {
  int64_t begin, end;
};

std::vector<Rows> row_ranges(const ConvGeometry& g) { return {{0, g.out_h}, {0, 1}, {g.out_h / 2, g.out_h}, {1, 1}}; }

// What a forward kernel reads and writes. The whole of y, with marks where nothing may be written.
struct ForwardCase {
  Guarded<float> weight, packed, x, bias, y;
  ConvForward call;

  // positions: for which the weights are packed.
  ForwardCase(const ConvGeometry& g, int64_t positions)
      : weight(guarded(numbers(g.kernel_h * g.kernel_w * (g.in / g.groups) * g.out, 2))),
        packed(static_cast<size_t>(conv_packed_floats(g, forward_weight(g, weight.data()), positions))),
        x(guarded(numbers(g.in_h * g.in_w * g.in, 1))),
        bias(guarded(numbers(g.out, 3))),
        y(guarded(std::vector<float>(
            static_cast<size_t>((g.out_h - 1) * g.row_pitch + (g.out_w - 1) * g.pixel_pitch + g.out), 0.5f))),
        call{.x = x.data(),
             .weight = conv_panels(g, forward_weight(g, weight.data()), {packed.data(), packed.size()}),
             .bias = bias.data(),
             .y = y.data()} {}

  std::vector<float> result() const { return {y.span().begin(), y.span().end()}; }
};

std::vector<float> run(Forward kernel, const ConvGeometry& g, Rows rows, bool with_bias,
                       const ConvEnding& ending = {}) {
  ForwardCase c(g, 1);
  Guarded<float> scratch(static_cast<size_t>(conv_scratch_floats(g, 1, rows.end - rows.begin)));
  if (!with_bias) c.call.bias = nullptr;
  c.call.row_begin = rows.begin, c.call.row_end = rows.end;
  c.call.scratch = scratch.data();
  c.call.ending = ending;
  kernel(g, c.call);
  return c.result();
}

std::vector<float> run_units(Forward kernel, const ConvGeometry& g, int64_t batch) {
  const ConvUnits units = conv_units(g, batch);
  const ForwardCase c(g, batch * g.out_h * g.out_w);
  for (int64_t unit = 0; unit < units.bands * units.parts; ++unit) run_conv_unit(kernel, g, c.call, units, unit);
  return c.result();
}

// What a weight-gradient kernel reads and writes, but for rows and scratch.
struct GradientCase {
  Guarded<float> x, dy, dw;
  ConvWeightGradient call;

  GradientCase(const ConvGeometry& g, int64_t images)
      : x(guarded(numbers(images * g.in_h * g.in_w * g.in, 1))),
        dy(guarded(numbers((images * g.out_h - 1) * g.row_pitch + (g.out_w - 1) * g.pixel_pitch + g.out, 2))),
        dw(guarded(numbers((g.kernel_h * g.kernel_w * (g.in / g.groups) - 1) * g.pixel_pitch + g.out, 3))),
        call{.x = x.data(), .dy = dy.data(), .dw = dw.data(), .images = images} {}

  std::vector<float> result() const { return {dw.span().begin(), dw.span().end()}; }
};

std::vector<float> run(WeightGradient kernel, const ConvGeometry& g, Rows rows, int64_t images) {
  GradientCase c(g, images);
  Guarded<float> scratch(static_cast<size_t>(conv_scratch_floats(g, images, rows.end - rows.begin)));
  c.call.row_begin = rows.begin, c.call.row_end = rows.end;
  c.call.scratch = scratch.data();
  kernel(g, c.call);
  return c.result();
}

std::vector<float> run_parts(WeightGradient kernel, const ConvGeometry& g, ConvBands bands, int64_t images,
                             bool whole) {
  if (whole) bands.channels = g.out, bands.parts = 1;
  const GradientCase c(g, images);
  for (int64_t part = 0; part < bands.parts; ++part)
    run_gradient_part(kernel, gradient_part(g, c.call, bands, part), bands, bands.units.count() - 1);
  return c.result();
}

void check_all(const std::vector<ConvGeometry>& all, Forward ConvKernels::*forward,
               WeightGradient ConvGradientKernels::*gradient) {
  const auto rows_of_table = available_kernels();
  const Kernels& scalar = *rows_of_table.front();
  for (const ConvGeometry& g : all)
    for (const Rows rows : row_ranges(g))
      for (const int64_t images : {1, 3}) {
        const bool bias = images == 1;
        const auto y = run(scalar.conv.*forward, g, rows, bias),
                   dw = run(scalar.conv_gradient.*gradient, g, rows, images);
        for (const Kernels* row : rows_of_table.subspan(1)) {
          CAPTURE(row->isa, g.in_h, g.in_w, g.in, g.out_h, g.out_w, g.out, g.kernel_h, g.kernel_w, g.stride_h,
                  g.stride_w, g.padding_h, g.padding_w, g.dilation_h, g.dilation_w, g.groups, rows.begin, rows.end,
                  images);
          REQUIRE(bits(run(row->conv.*forward, g, rows, bias)) == bits(y));
          REQUIRE(bits(run(row->conv_gradient.*gradient, g, rows, images)) == bits(dw));
        }
      }
}

// Additions and clamps in passes of their own.
std::vector<float> ended(std::vector<float> y, const ConvGeometry& g, Rows rows, const ConvEnding& ending) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    for (int64_t column = 0; column < g.out_w; ++column)
      for (int64_t c = 0; c < g.out; ++c) {
        const int64_t i = row * g.row_pitch + column * g.pixel_pitch + c;
        float& number = y[static_cast<size_t>(i)];
        if (ending.addend) number += ending.addend[i];
        if (ending.clamps) number = std::min(std::max(number, ending.low), ending.high);
      }
  return y;
}

void check_endings(const std::vector<ConvGeometry>& all, Forward ConvKernels::*forward) {
  for (const ConvGeometry& g : all)
    for (const Rows rows : row_ranges(g))
      for (const Kernels* row : available_kernels()) {
        const std::vector<float> y = run(row->conv.*forward, g, rows, true);
        std::vector<float> values = numbers(std::ssize(y), 4);
        for (size_t i = 0; i < values.size(); i += 5) values[i] = -y[i];
        for (size_t i = 3; i < values.size(); i += 7) values[i] = std::numeric_limits<float>::quiet_NaN();
        const auto addend = guarded(values);
        for (const bool adds : {false, true})
          for (const bool clamps : {false, true}) {
            CAPTURE(row->isa, g.in_h, g.in_w, g.in, g.out, g.kernel_h, g.stride_h, rows.begin, rows.end, adds, clamps);
            const ConvEnding ending{
                .addend = adds ? addend.data() : nullptr, .clamps = clamps, .low = 0.0f, .high = 0.75f};
            REQUIRE(bits(run(row->conv.*forward, g, rows, true, ending)) == bits(ended(y, g, rows, ending)));
          }
      }
}

}  // namespace

TEST_CASE("convolution kernels give the same bits on every instruction set") {
  check_all(geometries(), &ConvKernels::forward, &ConvGradientKernels::weight);
}

TEST_CASE("convolutions of many channels give the same bits on every instruction set") {
  check_all(deep_geometries(), &ConvKernels::forward, &ConvGradientKernels::weight);
  check_endings(deep_geometries(), &ConvKernels::forward);
}

TEST_CASE("a convolution in units has the bits of one call, its weights in their place or packed") {
  std::vector<ConvGeometry> all = geometries();
  for (const ConvGeometry& g : deep_geometries()) all.push_back(g);
  all.push_back(conv_geometry(9, 3, 100, 320, 3, 1, 1, 1, 1, 3));
  all.push_back(conv_geometry(4, 5, 260, 528, 1, 2, 0, 1, 1, 0));
  bool any_parts = false;
  for (const ConvGeometry& g : all)
    for (const Kernels* row : available_kernels())
      for (const int64_t batch : {1, 100}) {
        CAPTURE(row->isa, g.in_h, g.in_w, g.in, g.out, g.kernel_h, batch);
        any_parts |= conv_units(g, batch).parts > 1;
        REQUIRE(bits(run_units(row->conv.forward, g, batch)) == bits(run(row->conv.forward, g, {0, g.out_h}, true)));
      }
  REQUIRE(any_parts);
}

TEST_CASE("a weight gradient in parts of its channels has the bits of the whole") {
  const ConvGeometry g = conv_geometry(6, 5, 130, 328, 3, 1, 1, 1, 1, 2);
  for (const int64_t images : {1, 40}) {
    const ConvBands bands = weight_gradient_bands(g, images, /*part=*/false);
    REQUIRE(bands.parts > 1);
    for (const Kernels* row : available_kernels()) {
      CAPTURE(row->isa, images);
      REQUIRE(bits(run_parts(row->conv_gradient.weight, g, bands, images, false)) ==
              bits(run_parts(row->conv_gradient.weight, g, bands, images, true)));
    }
  }
}

TEST_CASE("depthwise kernels give the same bits on every instruction set") {
  check_all(depthwise_geometries(), &ConvKernels::depthwise_forward, &ConvGradientKernels::depthwise_weight);
}

TEST_CASE("convolution kernels give the same bits on every instruction set for windows of any kind") {
  check_all(random_geometries(false), &ConvKernels::forward, &ConvGradientKernels::weight);
  check_all(random_geometries(true), &ConvKernels::depthwise_forward, &ConvGradientKernels::depthwise_weight);
}

TEST_CASE("an addition and a clamp at the end of a convolution have the bits of passes of their own") {
  check_endings(geometries(), &ConvKernels::forward);
  check_endings(depthwise_geometries(), &ConvKernels::depthwise_forward);
}

TEST_CASE("a convolution without taps yields its bias") {
  ConvGeometry g = conv_geometry(4, 4, 3, 20, 1, 1, 0, 1, 1, 0);
  g.kernel_h = g.kernel_w = 0;
  for (const Kernels* row : available_kernels()) {
    CAPTURE(row->isa);
    const std::vector<float> bias = numbers(g.out, 3), y = run(row->conv.forward, g, {0, 4}, true);
    for (size_t i = 0; i < y.size(); ++i) REQUIRE(y[i] == bias[i % bias.size()]);
  }
}
