// The integer engine's convolution over its tiles. The including file defines byte_tile and depthwise_tile, and how
// many positions and panels they take: kTilePositions, kDepthwisePositions, kTilePanels.
#include <string.h>

#include "core/kernels/blocks.h"
#include "engine/kernels/byte_tile.h"

namespace qgrad {
namespace {

// The input under a band of output rows less its base, with a border.
void copy_with_border(const ByteConvLayer& layer, const ByteConv& a) {
  const ConvGeometry g = layer.geometry;
  const int64_t first_row = a.row_begin * g.stride_h - g.padding_h, rows = rows_under(g, a.row_end - a.row_begin);
  const int64_t columns = columns_under(g);
  const int64_t left = g.padding_w < columns ? g.padding_w : columns;
  const int64_t rest = columns - left, real = g.in_w - (left - g.padding_w);
  const auto before = static_cast<size_t>(left * g.in);
  const auto inside = static_cast<size_t>((real < 0 ? 0 : real < rest ? real : rest) * g.in);
  const auto after = static_cast<size_t>(columns * g.in) - before - inside;
  const uint8_t base = layer.base;
  uint8_t* to = a.scratch;
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    if (row < 0 || row >= g.in_h) {
      memset(to, layer.outside, before + inside + after);
      to += before + inside + after;
      continue;
    }
    memset(to, layer.outside, before);
    to += before;
    const uint8_t* from = a.x + (row * g.in_w + left - g.padding_w) * g.in;
    if (base == 0) {
      memcpy(to, from, inside);
    } else {
      uint8_t* __restrict y = to;
      for (size_t i = 0; i < inside; ++i) y[i] = static_cast<uint8_t>(from[i] - base);
    }
    to += inside;
    memset(to, layer.outside, after);
    to += after;
  }
  memset(to, 0, static_cast<size_t>(layer.panel));
}

void conv(const ByteConvLayer& layer, const ByteConv& arguments) {
  const ConvGeometry g = layer.geometry;
  const ByteConv a = arguments;
  if (a.row_begin >= a.row_end || g.out_w == 0) return;
  if (!layer.direct) copy_with_border(layer, a);
  const uint8_t* input = layer.direct ? a.x + a.row_begin * g.stride_h * layer.row_pitch : a.scratch;
  const int64_t panels = panels_of(layer), panels_group = layer.depthwise ? panels : panels_of_group(g);
  const int64_t out_group = layer.depthwise ? g.out : g.out / g.groups;
  const int64_t size = layer.real_bias ? sizeof(float) : sizeof(uint8_t), pixel = g.out * size;
  const BlockSteps steps{g.stride_w * g.in, g.stride_h * layer.row_pitch, pixel, g.out_w * pixel, true};
  ByteTile t{};
  t.ending.origin = layer.origin, t.ending.sum_shift = layer.sum_shift, t.ending.large_steps = layer.large_steps;
  for (int64_t panel = 0; panel < panels; panel += t.panels) {
    const int64_t first = panel % panels_group * layer.panel, left = out_group - first, channels = panel * layer.panel;
    t.panels = !layer.depthwise && left > kBytePanel ? kTilePanels : 1;
    t.panel = layer.panels + panel;
    t.bias = layer.bias + channels, t.ending.rescale = layer.rescale + channels;
    if (layer.fraction) t.ending.fraction = layer.fraction + channels;
    if (layer.real_bias) t.ending.real_bias = layer.real_bias + channels;
    t.ending.low = layer.low + channels, t.ending.high = layer.high + channels;
    t.ending.lanes = left < t.panels * layer.panel ? left : t.panels * layer.panel;
    Blocks<uint8_t> blocks(a.row_end - a.row_begin, g.out_w,
                           layer.depthwise ? kDepthwisePositions : kTilePositions[t.panels - 1], steps);
    // A depthwise panel's inputs lie where its outputs do; other panels' steps know where.
    blocks.start(a.row_begin, input + (layer.depthwise ? first : 0),
                 a.y + a.row_begin * g.out_w * pixel + (panel / panels_group * out_group + first) * size);
    for (int64_t block = 0; block < blocks.count(); block += t.blocks) {
      t.positions = blocks.next(t).positions;
      layer.depthwise ? depthwise_tile(t) : byte_tile(t);
    }
  }
}

}  // namespace
}  // namespace qgrad
