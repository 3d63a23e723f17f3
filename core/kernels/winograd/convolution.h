// A convolution by Winograd's method: weights at the points, inputs at the points, a matrix product for each point, and
// outputs from these.
#pragma once

#include <cstdint>

#include "core/kernels/conv/conv.h"
#include "core/kernels/gemm/gemm.h"
#include "core/kernels/winograd/winograd.h"

namespace qgrad {

// Whether the method can compute this convolution, and takes less time for it than a direct one.
bool winograd_suits(const ConvGeometry& geometry);

// Panels of a weight (core/kernels/conv/pack.h) at the points, [points][ceil(out/16)][in][16].
int64_t winograd_weight_floats(const ConvGeometry& geometry);
void winograd_weights(const WinogradKernels& winograd, const ConvGeometry& geometry, const ConvPanels& taps, float* to);

// How an image is cut: `bands` bands of `rows` rows of tiles, and of each `parts` parts of `channels` output channels,
// so that there is work for so many threads.
struct WinogradUnits {
  int64_t rows, bands, channels, parts;
  int64_t count() const { return bands * parts; }
};
WinogradUnits winograd_units(const ConvGeometry& geometry, int64_t threads);

// One unit of an image. forward.weight: of winograd_weights(); its rows and scratch are not used.
void run_winograd_unit(const WinogradKernels& winograd, const GemmKernels& gemm, const ConvGeometry& geometry,
                       const ConvForward& forward, const WinogradUnits& units, int64_t unit);

}  // namespace qgrad
