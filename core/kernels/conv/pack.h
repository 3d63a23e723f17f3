// What a convolution prepares before its kernels run: panels of weights, the phases of an input gradient, row bands.
#pragma once

#include <cstdint>

#include "core/kernels/conv/conv.h"

namespace qgrad {

// Strides, in floats, of a weight array as a convolution reads it. Taps may run backwards.
struct ConvWeightView {
  const float* data;  // of tap (0, 0), input channel 0 of the group, output channel 0
  int64_t tap_h, tap_w, in, out, group;
};

bool is_depthwise(const ConvGeometry& geometry);

// Weights as the forward kernels read them: where they are if they have that order already, else as a zero-filled copy
// in `packed`, which takes conv_packed_floats().
int64_t conv_packed_floats(const ConvGeometry& geometry, const ConvWeightView& weight);  // 0: no copy is needed
ConvPanels conv_panels(const ConvGeometry& geometry, const ConvWeightView& weight, float* packed);

// A HWIO weight as the forward pass of this geometry reads it.
ConvWeightView forward_weight(const ConvGeometry& geometry, const float* weight);

// A convolution that computes some positions of y, from `offset` on. The forward pass is one that computes all.
struct ConvPhase {
  ConvGeometry geometry;
  ConvWeightView weight;
  int64_t offset;
};

// The part of the input gradient at input rows phase_h + stride_h * r and columns phase_w + stride_w * c: an unstrided
// convolution of dy with the taps that reach those positions, in reverse order. The weight is as forward_weight sees
// it.
ConvPhase input_gradient_phase(const ConvGeometry& forward, const ConvWeightView& weight, int64_t phase_h,
                               int64_t phase_w);

// Rows of one image that a forward call should work on: few enough that their input stays in the first-level cache, and
// that a small batch still has work for several threads.
int64_t conv_band_rows(const ConvGeometry& geometry, int64_t batch);

// How a weight gradient is cut up: a unit is `rows` rows of `images` images, small enough for the first-level cache; a
// chunk is a run of units summed into one partial result.
struct ConvBands {
  int64_t images, rows;
  int64_t per_image;  // units that one group of images is cut into
  int64_t units, units_per_chunk, chunks;
};
ConvBands weight_gradient_bands(const ConvGeometry& geometry, int64_t batch);

}  // namespace qgrad
