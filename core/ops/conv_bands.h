// How the weight gradient of a convolution is cut up. For the ops in this folder.
#pragma once

#include <cstdint>
#include <functional>

#include "core/batch_sum.h"
#include "core/kernels/conv/conv.h"

namespace qgrad {

// A unit is `rows` rows of at most `images` images of one slice of the batch, small enough for the first-level cache; a
// chunk is a run of units summed into one partial result. Where weights are many, chunks are few, and threads share
// `parts` parts of `channels` output channels of each.
struct ConvBands {
  int64_t slice;         // images of a slice of the batch
  int64_t images, rows;  // of a unit
  int64_t height;        // rows of an image
  int64_t per_image;     // units that one group of images is cut into
  int64_t per_slice;     // units
  BatchChunks units;
  int64_t channels, parts;  // the last part has the rest of the channels
};
// Of `batch` images, which may be a part of a batch (core/batch_sum.h).
ConvBands weight_gradient_bands(const ConvGeometry& geometry, int64_t batch, bool part);
// The same for Winograd's method, whose rows are those of tiles.
ConvBands winograd_gradient_bands(const ConvGeometry& geometry, int64_t batch, bool part);

// What one part of one chunk sums: the geometry of its channels, and the batch's gradient with dy and dw at them.
struct ConvGradientPart {
  ConvGeometry geometry;
  ConvWeightGradient gradient;
};
// `gradient` is the batch's but for dw, the chunk's.
ConvGradientPart gradient_part(const ConvGeometry& geometry, const ConvWeightGradient& gradient, const ConvBands& bands,
                               int64_t part);

// Calls add(unit) for every unit of a chunk, in order.
void for_each_unit(const ConvGradientPart& part, const ConvBands& bands, int64_t chunk,
                   const std::function<void(const ConvWeightGradient&)>& add);

// The partial result of one part of one chunk, by a kernel. dw need not be zeros.
using ConvGradientKernel = void (*)(const ConvGeometry&, const ConvWeightGradient&);
void run_gradient_part(ConvGradientKernel kernel, const ConvGradientPart& part, const ConvBands& bands, int64_t chunk);

}  // namespace qgrad
