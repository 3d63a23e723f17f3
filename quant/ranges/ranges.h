// Ranges to quantize: of a tensor or of calibration statistics, clipped in one of many ways.
#pragma once

#include <optional>
#include <vector>

#include "core/tensor.h"
#include "quant/affine.h"
#include "quant/settings.h"

namespace qgrad {

struct TensorStats;

// How one tensor is quantized (Distiller range_linear.QuantSettings).
struct QuantSettings {
  int bits = 8;
  LinearQuantMode mode = LinearQuantMode::symmetric;
  ClipMode clip = ClipMode::none;
  std::optional<float> n_stds;                // for ClipMode::n_std; above 0
  std::optional<float> percentile;            // for ClipMode::percentile; above 50, at most 100
  bool half_range = false;                    // only positive values matter (a ReLU follows)
  bool per_channel = false;                   // one scale per output channel, the last dimension
  std::optional<int> scale_approx_mult_bits;  // round the scale to an integer multiplier and a shift
};

// Which dimension tells the slices apart whose ranges ClipMode::avg averages: the samples of an activation (the first),
// or the output channels of a weight (the last; PyTorch's first).
enum class Slices { samples, output_channels };

// --- ranges of a tensor; empty tensors throw ---
ValueRange tensor_min_max(const Tensor& x);
std::vector<ValueRange> slice_min_max(const Tensor& x, Slices slices);
// Mean of the slices' minima, mean of their maxima. (Distiller get_tensor_avg_min_max)
ValueRange tensor_avg_min_max(const Tensor& x, Slices slices);
// [mean - n std, mean + n std] within [min, max]; the standard deviation is the sample one (n - 1).
// (Distiller get_tensor_mean_n_stds_min_max)
ValueRange tensor_mean_n_stds(const Tensor& x, float n_stds);

// --- ACIQ: the clipping values that minimise the expected square error of a Gaussian or Laplacian tensor ---
// (Banner et al., "Post training 4-bit quantization of convolutional networks", NeurIPS 2019; Distiller AciqClipper.)
// alpha = std * gauss[bits] or b * laplace[bits]; other tables for half-range (only positive) tensors.
// Symmetric: +-(|mean| + alpha). Asymmetric: min = max(low, mean - alpha), max = min + 2 alpha (half range: alpha).
struct Moments {
  float low = 0;  // the smallest value, or the mean of the samples' smallest values
  float mean = 0;
  double std = 0, b = 0;  // standard and mean absolute deviation
};
// Throws for clip modes other than gauss and laplace, and for bits outside the tables (1 to 8, laplace 0 to 8).
ValueRange aciq_range(const Moments& moments, const QuantSettings& settings);
// Mean, sample standard deviation and mean absolute deviation; low is the minimum.
Moments tensor_moments(const Tensor& x);

// --- ranges under the settings' clip mode ---
// One range, or one per output channel. avg, gauss and laplace give one range for all channels, as in Distiller. Throws
// where per_channel is asked for on a tensor of rank other than 2 or 4 or with n_std, for n_std without n_stds, for
// percentile without its percentage, and where a number is not finite.
std::vector<ValueRange> range_from_tensor(const Tensor& x, const QuantSettings& settings, Slices slices);
// Throws for n_std without n_stds, for percentile without its percentage, for modes that need a histogram where the
// statistics have none, and for per_channel: statistics are per tensor.
ValueRange range_from_stats(const TensorStats& stats, const QuantSettings& settings);

// A scale and a zero point on the integers of these settings.
Grid grid_of(const Grid& at, const QuantSettings& settings);
// The grid of exactly this range under the settings' bits, mode and scale approximation, or of one for each channel.
Grid grid_from_clipping(const ValueRange& range, const QuantSettings& settings);
ChannelGrid grid_from_ranges(const std::vector<ValueRange>& ranges, const QuantSettings& settings);
// Those of the ranges above; the scale approximation is applied after the zero point was computed.
// (Distiller _get_quant_params_from_tensor, _get_quant_params_from_stats_dict)
ChannelGrid grid_from_tensor(const Tensor& x, const QuantSettings& settings, Slices slices);
Grid grid_from_stats(const TensorStats& stats, const QuantSettings& settings);

}  // namespace qgrad
