// How the weight gradient of a convolution is cut up. For the ops in this folder.
#pragma once

#include <cstdint>

#include "core/batch_sum.h"
#include "core/kernels/conv/conv.h"

namespace qgrad {

// A unit is `rows` rows of at most `images` images of one slice of the batch, small enough for the first-level cache; a
// chunk is a run of units summed into one partial result. Where weights are many, chunks are few, and threads share
// `parts` parts of `channels` output channels of each.
struct ConvBands {
  int64_t slice;         // images of a slice of the batch
  int64_t images, rows;  // of a unit
  int64_t per_image;     // units that one group of images is cut into
  int64_t per_slice;     // units
  BatchChunks units;
  int64_t channels, parts;
};
// Of `batch` images, which may be a part of a batch (core/batch_sum.h).
ConvBands weight_gradient_bands(const ConvGeometry& geometry, int64_t batch, bool part);

// The partial result of one part of one chunk. `gradient` is the batch's but for dw, the chunk's, which need not be
// zeros.
using ConvGradientKernel = void (*)(const ConvGeometry&, const ConvWeightGradient&);
void run_gradient_part(ConvGradientKernel kernel, const ConvGeometry& geometry, const ConvWeightGradient& gradient,
                       const ConvBands& bands, int64_t chunk, int64_t part);

}  // namespace qgrad
