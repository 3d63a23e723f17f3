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

// The tiles of an image.
WinogradTiles winograd_tiles(const ConvGeometry& geometry);

// How a batch is cut: groups of `images` images, of each `bands` bands of `rows` rows of tiles, and of each `parts`
// parts of `channels` output channels, the last one of the rest, so that there is work for so many threads.
struct WinogradUnits {
  int64_t batch, images, rows, bands, channels, parts;
  int64_t groups() const { return (batch + images - 1) / images; }
  int64_t count() const { return groups() * bands * parts; }
};
// How many parts of so many channels there are, where what is less than a vector belongs to the last one.
int64_t winograd_parts(int64_t out, int64_t channels);
WinogradUnits winograd_units(const ConvGeometry& geometry, int64_t batch, int64_t threads);

// One unit of a batch, whose images lie one behind the other. forward.weight: of winograd_weights(); its rows and
// scratch are not used.
void run_winograd_unit(const WinogradKernels& winograd, const GemmKernels& gemm, const ConvGeometry& geometry,
                       const ConvForward& forward, const WinogradUnits& units, int64_t unit);

// Channels of an image's pixels.
struct WinogradImage {
  const float* data;
  int64_t height, width, channels, row_pitch, pixel_pitch;
};
// What lies under tiles whose inputs are `size` x `size` pixels and begin `padding` pixels before the image, and zeros
// around it: [4 rows + size - 4, 4 columns + size - 4, channels].
void copy_under_tiles(const WinogradImage& image, const WinogradTiles& tiles, int64_t size, int64_t padding_h,
                      int64_t padding_w, float* to);

// Floats from one point to the next where each has so many.
int64_t winograd_step(int64_t floats);

}  // namespace qgrad
