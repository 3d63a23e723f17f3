// What a convolution prepares before its kernels run: panels of weights, the phases of an input gradient, row bands.
#pragma once

#include <cstdint>
#include <span>

#include "core/kernels/conv/conv.h"

namespace qgrad {

// Strides, in floats, of a weight array as a convolution reads it. Taps may run backwards.
struct ConvWeightView {
  const float* data;  // of tap (0, 0), input channel 0 of the group, output channel 0
  int64_t tap_h, tap_w, in, out, group;
};

bool is_depthwise(const ConvGeometry& geometry);

// Weights as the forward kernels read them: where they are if they have that order already, else as a zero-filled copy
// in `packed`, which takes conv_packed_floats(). That says 0 where no copy is needed; where there are many channels,
// and `positions` enough to pay for it, a copy without gaps between the rows of a panel is, too.
int64_t conv_packed_floats(const ConvGeometry& geometry, const ConvWeightView& weight, int64_t positions);
ConvPanels conv_panels(const ConvGeometry& geometry, const ConvWeightView& weight, std::span<float> packed);

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

// How a forward pass is cut into calls of a kernel: `bands` bands of `rows` rows of each image, few enough that their
// input stays in a cache; and of each `parts` parts of `channels` output channels, so that a small batch with many
// weights still has work for several threads.
struct ConvUnits {
  int64_t rows, bands, channels, parts;
};
ConvUnits conv_units(const ConvGeometry& geometry, int64_t batch);

// Calls a forward kernel for one of an image's units, the bands of the first part first. `forward` is all of the
// image's.
using ConvForwardKernel = void (*)(const ConvGeometry&, const ConvForward&);
void run_conv_unit(ConvForwardKernel kernel, const ConvGeometry& geometry, const ConvForward& forward,
                   const ConvUnits& units, int64_t unit);

}  // namespace qgrad
