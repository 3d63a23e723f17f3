// Where the method pays, how an image is cut, and the steps of a unit.
#include "core/kernels/winograd/convolution.h"

#include <algorithm>

#include "core/memory.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kStep = kPanel;  // floats more between points: powers of two would share lines of the first cache

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
WinogradTiles all_tiles(const ConvGeometry& g) {
  return {0, divide_up(g.out_h, kWinogradOutputs), divide_up(g.out_w, kWinogradOutputs)};
}
int64_t panels(int64_t channels) { return divide_up(channels, kPanel); }

// The rows under the tiles, zeros around the image.
void copy_input(const ConvGeometry& g, const float* x, const WinogradTiles& tiles, float* to) {
  const int64_t first = tiles.row * kWinogradOutputs - g.padding_h;
  const int64_t rows = (tiles.rows - 1) * kWinogradOutputs + kWinogradInputs;
  const int64_t columns = (tiles.columns - 1) * kWinogradOutputs + kWinogradInputs;
  const int64_t begin = std::clamp<int64_t>(-g.padding_w, 0, g.in_w);
  const int64_t end = std::clamp<int64_t>(columns - g.padding_w, begin, g.in_w);
  const int64_t left = (begin + g.padding_w) * g.in, inside = (end - begin) * g.in;
  for (int64_t row = first; row < first + rows; ++row) {
    if (row < 0 || row >= g.in_h) {
      to = std::fill_n(to, columns * g.in, 0.0f);
      continue;
    }
    to = std::fill_n(to, left, 0.0f);
    to = std::copy_n(x + (row * g.in_w + begin) * g.in, inside, to);
    to = std::fill_n(to, columns * g.in - left - inside, 0.0f);
  }
}

}  // namespace

bool winograd_suits(const ConvGeometry& g) {
  constexpr int64_t kFewTiles = 4, kManyWeights = 256 * 256;  // of a tap: more would come from memory for each image
  const bool is_3x3 = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 &&
                      g.dilation_w == 1 && g.groups == 1;
  return is_3x3 && std::min(g.in, g.out) >= kWinogradChannels && g.in * g.out <= kManyWeights &&
         all_tiles(g).count() >= kFewTiles;
}

int64_t winograd_weight_floats(const ConvGeometry& g) { return kWinogradPoints * gemm_packed_floats(g.in, g.out); }

void winograd_weights(const WinogradKernels& winograd, const ConvGeometry& g, const ConvPanels& taps, float* to) {
  constexpr int64_t kRows = 128;
  parallel_for(panels(g.out) * g.in, kRows, [&](int64_t first, int64_t last) {
    winograd.weight(
        {.taps = taps, .in = g.in, .first = first, .last = last, .to = to, .step = gemm_packed_floats(g.in, g.out)});
  });
}

WinogradUnits winograd_units(const ConvGeometry& g, int64_t threads) {
  constexpr int64_t kTiles = 24;             // at least, for which weights are read once
  constexpr int64_t kManyWeights = 64 * 64;  // of a tap: they should be read by one thread alone
  const WinogradTiles tiles = all_tiles(g);
  WinogradUnits u{.rows = tiles.rows, .bands = std::clamp<int64_t>(tiles.count() / kTiles, 1, tiles.rows)};
  u.channels = g.out, u.parts = 1;
  if (u.bands < threads && g.in * g.out >= kManyWeights) {
    u.channels = divide_up(panels(g.out), divide_up(threads, u.bands)) * kPanel;
    u.parts = divide_up(g.out, u.channels);
  } else {
    u.bands = std::clamp(threads, u.bands, tiles.rows);
  }
  u.rows = divide_up(tiles.rows, u.bands);
  u.bands = divide_up(tiles.rows, u.rows);
  return u;
}

void run_winograd_unit(const WinogradKernels& winograd, const GemmKernels& gemm, const ConvGeometry& geometry,
                       const ConvForward& forward, const WinogradUnits& units, int64_t unit) {
  ConvGeometry g = geometry;
  const int64_t first = unit / units.bands * units.channels;
  g.out = std::min(units.channels, g.out - first);
  WinogradTiles tiles = all_tiles(g);
  tiles.row = unit % units.bands * units.rows;
  tiles.rows = std::min(units.rows, tiles.rows - tiles.row);

  Scratch scratch;
  const int64_t of_tile = kWinogradOutputs, border = kWinogradInputs - kWinogradOutputs;
  auto* x = scratch.take<float>(
      static_cast<size_t>((tiles.rows * of_tile + border) * (tiles.columns * of_tile + border) * g.in));
  copy_input(g, forward.x, tiles, x);
  const int64_t in_step = tiles.count() * g.in + kStep, out_step = tiles.count() * g.out + kStep;
  auto* in = scratch.take<float>(static_cast<size_t>(kWinogradPoints * in_step));
  auto* out = scratch.take<float>(static_cast<size_t>(kWinogradPoints * out_step));
  winograd.input({.tiles = tiles, .channels = g.in, .x = x, .to = in, .step = in_step});
  for (int64_t p = 0; p < kWinogradPoints; ++p)
    gemm.multiply({.rows = tiles.count(),
                   .inner = g.in,
                   .columns = g.out,
                   .a = in + p * in_step,
                   .panels = forward.weight.data + p * gemm_packed_floats(g.in, geometry.out) + first * g.in,
                   .bias = nullptr,
                   .c = out + p * out_step});
  ConvEnding ending = forward.ending;
  if (ending.addend) ending.addend += first;
  winograd.output(g, {.tiles = tiles,
                      .from = out,
                      .step = out_step,
                      .bias = forward.bias ? forward.bias + first : nullptr,
                      .y = forward.y + first,
                      .ending = ending});
}

}  // namespace qgrad
