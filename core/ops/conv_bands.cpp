// Units, chunks of units, and parts of them.
#include "core/ops/conv_bands.h"

#include <algorithm>

#include "core/divide_up.h"
#include "core/kernels/winograd/convolution.h"
#include "core/memory.h"

namespace qgrad {
namespace {

constexpr int64_t kPartChannels = 64;  // what the widest tile takes
constexpr int64_t kManySums = 65536;

int64_t sums_of(const ConvGeometry& g) { return g.kernel_h * g.kernel_w * (g.in / g.groups) * g.out; }

// `positions`: of a unit.
ConvBands bands_of(const ConvGeometry& g, int64_t batch, bool part, int64_t positions) {
  const int64_t sums = sums_of(g), area = std::max<int64_t>(1, g.out_h * g.out_w),
                height = std::max<int64_t>(1, g.out_h);
  const int64_t slice = BatchChunks::rows_of_slice(batch, part),
                rows = std::clamp<int64_t>(divide_up(positions, std::max<int64_t>(g.out_w, 1)), 1, height),
                per_image = divide_up(g.out_h, rows), images = std::clamp<int64_t>(positions / area, 1, slice),
                per_slice = std::max<int64_t>(1, divide_up(slice, images) * per_image);
  const int64_t slices = batch / slice, of_last = divide_up(batch - slices * slice, images) * per_image;
  // A batch of a few images has slices of one, which are cut further.
  const int64_t all_slices = std::max<int64_t>(1, divide_up(all_rows(batch, part), slice)),
                pieces = std::max<int64_t>(1, most_partial_sums(sums) / all_slices);
  ConvBands b{.slice = slice,
              .images = images,
              .rows = rows,
              .height = g.out_h,
              .per_image = per_image,
              .per_slice = per_slice,
              .units = BatchChunks(slices * per_slice + of_last, per_slice, part, sums, divide_up(per_slice, pieces)),
              .channels = g.out,
              .parts = 1};
  if (sums > kManySums && g.groups == 1) {
    const int64_t of_channels = divide_up(g.out, kPartChannels);
    b.parts = std::clamp<int64_t>(divide_up(kSlices, b.units.count()), 1, of_channels);
    b.channels = divide_up(of_channels, b.parts) * kPartChannels;
    b.parts = divide_up(g.out, b.channels);
  }
  return b;
}

}  // namespace

ConvBands weight_gradient_bands(const ConvGeometry& g, int64_t batch, bool part) {
  // Enough to pay for loading and storing the sums; few enough to stay in the first-level cache, or, where there are
  // many sums, in the second.
  constexpr int64_t kPositions = 128, kManyPositions = 256;
  return bands_of(g, batch, part, sums_of(g) > kManySums ? kManyPositions : kPositions);
}

ConvBands winograd_gradient_bands(const ConvGeometry& g, int64_t batch, bool part) {
  constexpr int64_t kTiles = 32;
  const WinogradTiles tiles = winograd_tiles(g);
  ConvGeometry of_tiles = g;
  of_tiles.out_h = tiles.rows, of_tiles.out_w = tiles.columns;
  ConvBands b = bands_of(of_tiles, batch, part, kTiles);
  b.parts = winograd_parts(g.out, b.channels);
  return b;
}

ConvGradientPart gradient_part(const ConvGeometry& geometry, const ConvWeightGradient& gradient, const ConvBands& bands,
                               int64_t part) {
  ConvGradientPart p{geometry, gradient};
  const int64_t first = part * bands.channels;
  p.geometry.out = part + 1 == bands.parts ? geometry.out - first : bands.channels;
  p.gradient.dy += first;
  p.gradient.dw += first;
  return p;
}

void for_each_unit(const ConvGradientPart& part, const ConvBands& bands, int64_t chunk,
                   const std::function<void(const ConvWeightGradient&)>& add) {
  const ConvGeometry& g = part.geometry;
  const auto [begin, end] = bands.units.rows(chunk);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t slice = unit / bands.per_slice * bands.slice, of_slice = unit % bands.per_slice,
                  image = slice + of_slice / bands.per_image * bands.images;
    ConvWeightGradient u = part.gradient;
    u.x += image * g.in_h * g.in_w * g.in;
    u.dy += image * g.out_h * g.row_pitch;
    u.images = std::min(bands.images, std::min(u.images, slice + bands.slice) - image);
    u.row_begin = of_slice % bands.per_image * bands.rows;
    u.row_end = std::min(bands.height, u.row_begin + bands.rows);
    add(u);
  }
}

void run_gradient_part(ConvGradientKernel kernel, const ConvGradientPart& part, const ConvBands& bands, int64_t chunk) {
  const ConvGeometry& g = part.geometry;
  for (int64_t row = 0; row < g.kernel_h * g.kernel_w * (g.in / g.groups); ++row)
    std::fill_n(part.gradient.dw + row * g.pixel_pitch, g.out, 0.0f);
  for_each_unit(part, bands, chunk, [&](ConvWeightGradient unit) {
    Scratch scratch;
    unit.scratch =
        scratch.take<float>(static_cast<size_t>(conv_scratch_floats(g, unit.images, unit.row_end - unit.row_begin)));
    kernel(g, unit);
  });
}

}  // namespace qgrad
