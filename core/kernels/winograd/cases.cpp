// The tiles that cover a given image, with its numbers as often as they are needed.
#include <vector>

#include "core/kernels/cases.h"
#include "core/kernels/winograd/convolution.h"

namespace qgrad {
namespace {

std::vector<float> repeated(const KernelNumbers& v, int64_t count) {
  std::vector<float> numbers(static_cast<size_t>(count));
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = v.tame[i % v.size()];
  return numbers;
}

WinogradTiles tiles_of(const KernelNumbers& v) {
  return winograd_tiles({.out_h = static_cast<int64_t>(v.height), .out_w = static_cast<int64_t>(v.width)});
}

}  // namespace

void add_cases(const WinogradKernels& k, const KernelNumbers& v, KernelCases& to) {
  const auto h = static_cast<int64_t>(v.height), w = static_cast<int64_t>(v.width),
             channels = static_cast<int64_t>(v.channels);
  if (v.size() == 0 || channels < kWinogradChannels) return;
  const int64_t panel_rows = (channels + kPanel - 1) / kPanel * channels;
  const auto taps = repeated(v, 9 * panel_rows * kPanel);
  to.add<float>("weight", static_cast<size_t>(kWinogradPoints * panel_rows * kPanel), [&](float* y) {
    k.weight({.taps = {taps.data(), 9 * channels * kPanel, kPanel},
              .in = channels,
              .first = 0,
              .last = panel_rows,
              .to = y,
              .step = panel_rows * kPanel});
  });
  const WinogradTiles tiles = tiles_of(v);
  const int64_t step = tiles.count() * channels, border = kWinogradInputs - kWinogradOutputs;
  const auto image =
      repeated(v, (tiles.rows * kWinogradOutputs + border) * (tiles.columns * kWinogradOutputs + border) * channels);
  const auto values = repeated(v, kWinogradPoints * step);
  to.add<float>("input", values.size(), [&](float* y) {
    k.input({.tiles = tiles, .channels = channels, .x = image.data(), .to = y, .step = step});
  });
  const ConvGeometry g{.out_h = h, .out_w = w, .out = channels, .row_pitch = w * channels, .pixel_pitch = channels};
  to.add<float>("output", v.size(), [&](float* y) {
    const ConvEnding ending{.addend = v.tame, .clamps = true, .low = v.low, .high = v.high};
    k.output(g, {.tiles = tiles, .from = values.data(), .step = step, .bias = v.positive, .y = y, .ending = ending});
  });
}

void add_cases(const WinogradGradientKernels& k, const KernelNumbers& v, KernelCases& to) {
  const auto channels = static_cast<int64_t>(v.channels);
  if (v.size() == 0 || channels < kWinogradChannels) return;
  const WinogradTiles tiles = tiles_of(v);
  const int64_t step = tiles.count() * channels, sums = channels * channels;
  const auto gradient = repeated(v, step * kWinogradOutputs * kWinogradOutputs);
  to.add<float>("output", static_cast<size_t>(kWinogradPoints * step), [&](float* y) {
    k.output({.tiles = tiles, .channels = channels, .x = gradient.data(), .to = y, .step = step});
  });
  const auto products = repeated(v, kWinogradPoints * sums);
  to.add<float>("weight", static_cast<size_t>(9 * sums), [&](float* y) {
    k.weight({.in = channels, .out = channels, .from = products.data(), .step = sums, .to = y, .pitch = channels});
  });
}

}  // namespace qgrad
