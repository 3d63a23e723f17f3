// The steps of a unit, and of a chunk of units.
#include "core/kernels/winograd/gradient.h"

#include <algorithm>

#include "core/memory.h"

namespace qgrad {
namespace {

int64_t sum_step(const ConvGeometry& g) { return winograd_step(g.in * g.out); }

}  // namespace

int64_t winograd_sum_floats(const ConvGeometry& g) { return kWinogradPoints * sum_step(g); }

void add_winograd_products(const WinogradGradient& kernels, const ConvGeometry& g, const ConvWeightGradient& call,
                           float* sums) {
  const WinogradTiles tiles{call.row_begin, call.row_end - call.row_begin, winograd_tiles(g).columns};
  const int64_t of_tile = kWinogradOutputs, border = kWinogradInputs - kWinogradOutputs;
  const int64_t inner = call.images * tiles.count();
  const int64_t x_step = winograd_step(inner * g.in), dy_step = winograd_step(inner * g.out);
  Scratch scratch;
  auto* under = scratch.take<float>(static_cast<size_t>((tiles.rows * of_tile + border) *
                                                        (tiles.columns * of_tile + border) * std::max(g.in, g.out)));
  auto* x = scratch.take<float>(static_cast<size_t>(kWinogradPoints * x_step));
  auto* dy = scratch.take<float>(static_cast<size_t>(kWinogradPoints * dy_step));
  for (int64_t i = 0; i < call.images; ++i) {
    copy_under_tiles({call.x + i * g.in_h * g.in_w * g.in, g.in_h, g.in_w, g.in, g.in_w * g.in, g.in}, tiles,
                     kWinogradInputs, g.padding_h, g.padding_w, under);
    kernels.winograd.input(
        {.tiles = tiles, .channels = g.in, .x = under, .to = x + i * tiles.count() * g.in, .step = x_step});
    copy_under_tiles({call.dy + i * g.out_h * g.row_pitch, g.out_h, g.out_w, g.out, g.row_pitch, g.pixel_pitch}, tiles,
                     kWinogradOutputs, 0, 0, under);
    kernels.gradient.output(
        {.tiles = tiles, .channels = g.out, .x = under, .to = dy + i * tiles.count() * g.out, .step = dy_step});
  }
  for (int64_t p = 0; p < kWinogradPoints; ++p)
    kernels.gemm.multiply_transposed({.first = 0,
                                      .rows = g.in,
                                      .inner = inner,
                                      .columns = g.out,
                                      .a_columns = g.in,
                                      .a = x + p * x_step,
                                      .b = dy + p * dy_step,
                                      .c = sums + p * sum_step(g),
                                      .adds = true});
}

void winograd_tap_gradient(const WinogradGradient& kernels, const ConvGeometry& g, const float* sums, float* dw) {
  kernels.gradient.weight(
      {.in = g.in, .out = g.out, .from = sums, .step = sum_step(g), .to = dw, .pitch = g.pixel_pitch});
}

}  // namespace qgrad
