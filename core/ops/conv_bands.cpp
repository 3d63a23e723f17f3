// Units, chunks of units, and parts of them.
#include "core/ops/conv_bands.h"

#include <algorithm>

#include "core/memory.h"

namespace qgrad {
namespace {

constexpr int64_t kPartChannels = 64;  // what the widest tile takes

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

ConvBands weight_gradient_bands(const ConvGeometry& g, int64_t batch, bool part) {
  // Enough positions per unit to pay for loading and storing the sums; few enough to stay in the first-level cache, or,
  // where there are many sums, in the second.
  constexpr int64_t kPositions = 128, kManyPositions = 256, kManySums = 65536;
  const int64_t sums = g.kernel_h * g.kernel_w * (g.in / g.groups) * g.out,
                area = std::max<int64_t>(1, g.out_h * g.out_w), height = std::max<int64_t>(1, g.out_h),
                positions = sums > kManySums ? kManyPositions : kPositions;
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

void run_gradient_part(ConvGradientKernel kernel, const ConvGeometry& geometry, const ConvWeightGradient& gradient,
                       const ConvBands& bands, int64_t chunk, int64_t part) {
  ConvGeometry g = geometry;
  const int64_t first = part * bands.channels;
  g.out = std::min(bands.channels, g.out - first);
  for (int64_t row = 0; row < g.kernel_h * g.kernel_w * (g.in / g.groups); ++row)
    std::fill_n(gradient.dw + row * g.pixel_pitch + first, g.out, 0.0f);
  const auto [begin, end] = bands.units.rows(chunk);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t slice = unit / bands.per_slice * bands.slice, of_slice = unit % bands.per_slice,
                  image = slice + of_slice / bands.per_image * bands.images;
    ConvWeightGradient u = gradient;
    u.x += image * g.in_h * g.in_w * g.in;
    u.dy += image * g.out_h * g.row_pitch + first;
    u.dw += first;
    u.images = std::min(bands.images, std::min(gradient.images, slice + bands.slice) - image);
    u.row_begin = of_slice % bands.per_image * bands.rows;
    u.row_end = std::min(g.out_h, u.row_begin + bands.rows);
    Scratch scratch;
    u.scratch = scratch.take<float>(static_cast<size_t>(conv_scratch_floats(g, u.images, u.row_end - u.row_begin)));
    kernel(g, u);
  }
}

}  // namespace qgrad
