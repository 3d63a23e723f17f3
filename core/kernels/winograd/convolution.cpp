// Where the method pays, how a batch is cut, and the steps of a unit.
#include "core/kernels/winograd/convolution.h"

#include <algorithm>

#include "core/divide_up.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

int64_t panels(int64_t channels) { return divide_up(channels, kPanel); }

// `count` pixels of a row.
float* copy_pixels(const WinogradImage& image, const float* from, int64_t count, float* to) {
  if (image.pixel_pitch == image.channels) return std::copy_n(from, count * image.channels, to);
  for (int64_t i = 0; i < count; ++i, from += image.pixel_pitch) to = std::copy_n(from, image.channels, to);
  return to;
}

}  // namespace

WinogradTiles winograd_tiles(const ConvGeometry& g) {
  return {0, divide_up(g.out_h, kWinogradOutputs), divide_up(g.out_w, kWinogradOutputs)};
}

int64_t winograd_step(int64_t floats) { return floats + kPanel; }  // powers of two would share lines of the first cache

int64_t winograd_parts(int64_t out, int64_t channels) {
  const int64_t whole = out / channels, rest = out % channels;
  return std::max<int64_t>(1, rest >= kWinogradChannels ? whole + 1 : whole);
}

void copy_under_tiles(const WinogradImage& image, const WinogradTiles& tiles, int64_t size, int64_t padding_h,
                      int64_t padding_w, float* to) {
  const int64_t first = tiles.row * kWinogradOutputs - padding_h;
  const int64_t rows = tiles.rows * kWinogradOutputs + size - kWinogradOutputs;
  const int64_t columns = tiles.columns * kWinogradOutputs + size - kWinogradOutputs;
  const int64_t begin = std::clamp<int64_t>(-padding_w, 0, image.width);
  const int64_t end = std::clamp<int64_t>(columns - padding_w, begin, image.width);
  const int64_t left = begin + padding_w, right = columns - left - (end - begin);
  for (int64_t row = first; row < first + rows; ++row) {
    if (row < 0 || row >= image.height) {
      to = std::fill_n(to, columns * image.channels, 0.0f);
      continue;
    }
    to = std::fill_n(to, left * image.channels, 0.0f);
    to = copy_pixels(image, image.data + row * image.row_pitch + begin * image.pixel_pitch, end - begin, to);
    to = std::fill_n(to, right * image.channels, 0.0f);
  }
}

bool winograd_suits(const ConvGeometry& g) {
  constexpr int64_t kFewTiles = 4, kManyWeights = 256 * 256;  // of a tap: more would come from memory for each image
  const bool is_3x3 = g.kernel_h == 3 && g.kernel_w == 3 && g.stride_h == 1 && g.stride_w == 1 && g.dilation_h == 1 &&
                      g.dilation_w == 1 && g.groups == 1;
  return is_3x3 && std::min(g.in, g.out) >= kWinogradChannels && g.in * g.out <= kManyWeights &&
         winograd_tiles(g).count() >= kFewTiles;
}

int64_t winograd_weight_floats(const ConvGeometry& g) { return kWinogradPoints * gemm_packed_floats(g.in, g.out); }

void winograd_weights(const WinogradKernels& winograd, const ConvGeometry& g, const ConvPanels& taps, float* to) {
  constexpr int64_t kRows = 128;
  parallel_for(panels(g.out) * g.in, kRows, [&](int64_t first, int64_t last) {
    winograd.weight(
        {.taps = taps, .in = g.in, .first = first, .last = last, .to = to, .step = gemm_packed_floats(g.in, g.out)});
  });
}

WinogradUnits winograd_units(const ConvGeometry& g, int64_t batch, int64_t threads) {
  constexpr int64_t kTiles = 24;             // at least, for which weights are read once
  constexpr int64_t kManyWeights = 64 * 64;  // of a tap: they should be read by one thread alone
  const WinogradTiles tiles = winograd_tiles(g);
  WinogradUnits u{.batch = batch, .rows = tiles.rows, .channels = g.out, .parts = 1};
  u.images = std::clamp<int64_t>(divide_up(kTiles, tiles.count()), 1, std::max<int64_t>(1, batch / threads));
  u.bands = std::clamp<int64_t>(tiles.count() / kTiles, 1, tiles.rows);
  const int64_t of_group = divide_up(threads, std::max<int64_t>(1, u.groups()));
  if (u.bands < of_group && g.in * g.out >= kManyWeights) {
    u.channels = divide_up(panels(g.out), divide_up(of_group, u.bands)) * kPanel;
    u.parts = winograd_parts(g.out, u.channels);
  } else {
    u.bands = std::clamp(of_group, u.bands, tiles.rows);
  }
  u.rows = divide_up(tiles.rows, u.bands);
  u.bands = divide_up(tiles.rows, u.rows);
  return u;
}

void run_winograd_unit(const WinogradKernels& winograd, const GemmKernels& gemm, const ConvGeometry& geometry,
                       const ConvForward& forward, const WinogradUnits& units, int64_t unit) {
  ConvGeometry g = geometry;
  const int64_t group = unit / units.bands % units.groups(), part = unit / units.bands / units.groups();
  const int64_t first = part * units.channels;
  g.out = part + 1 == units.parts ? g.out - first : units.channels;
  WinogradTiles tiles = winograd_tiles(g);
  tiles.row = unit % units.bands * units.rows;
  tiles.rows = std::min(units.rows, tiles.rows - tiles.row);
  const int64_t image = group * units.images, images = std::min(units.images, units.batch - image);

  Scratch scratch;
  const int64_t of_tile = kWinogradOutputs, border = kWinogradInputs - kWinogradOutputs;
  auto* under = scratch.take<float>(
      static_cast<size_t>((tiles.rows * of_tile + border) * (tiles.columns * of_tile + border) * g.in));
  const int64_t in_step = winograd_step(images * tiles.count() * g.in);
  const int64_t out_step = winograd_step(images * tiles.count() * g.out);
  auto* in = scratch.take<float>(static_cast<size_t>(kWinogradPoints * in_step));
  auto* out = scratch.take<float>(static_cast<size_t>(kWinogradPoints * out_step));
  for (int64_t i = 0; i < images; ++i) {
    const float* x = forward.x + (image + i) * g.in_h * g.in_w * g.in;
    copy_under_tiles({x, g.in_h, g.in_w, g.in, g.in_w * g.in, g.in}, tiles, kWinogradInputs, g.padding_h, g.padding_w,
                     under);
    winograd.input(
        {.tiles = tiles, .channels = g.in, .x = under, .to = in + i * tiles.count() * g.in, .step = in_step});
  }
  for (int64_t p = 0; p < kWinogradPoints; ++p)
    gemm.multiply({.rows = images * tiles.count(),
                   .inner = g.in,
                   .columns = g.out,
                   .a = in + p * in_step,
                   .panels = forward.weight.data + p * gemm_packed_floats(g.in, geometry.out) + first * g.in,
                   .bias = nullptr,
                   .c = out + p * out_step});
  for (int64_t i = 0; i < images; ++i) {
    const int64_t offset = (image + i) * g.out_h * g.row_pitch + first;
    ConvEnding ending = forward.ending;
    if (ending.addend) ending.addend += offset;
    winograd.output(g, {.tiles = tiles,
                        .from = out + i * tiles.count() * g.out,
                        .step = out_step,
                        .bias = forward.bias ? forward.bias + first : nullptr,
                        .y = forward.y + offset,
                        .ending = ending});
  }
}

}  // namespace qgrad
