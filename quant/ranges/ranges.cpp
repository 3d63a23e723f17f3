// Reductions of a tensor, ACIQ's tables, and what each clip mode makes of them.
#include "quant/ranges/ranges.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/config.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "quant/ranges/from_histogram.h"
#include "quant/ranges/reductions.h"
#include "quant/ranges/stats.h"

namespace qgrad {
namespace {

// alpha / std and alpha / b by bits; the first Gaussian entries do not exist.
constexpr double kAbsent = 0;
constexpr std::array<double, 9> kGauss{kAbsent, 1.24, 1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92};
constexpr std::array<double, 9> kGaussPositive{kAbsent, 1.71, 2.15, 2.55, 2.93, 3.28, 3.61, 3.92, 4.2};
constexpr std::array<double, 9> kLaplace{1.05, 1.86, 2.83, 3.89, 5.03, 6.2, 7.41, 8.64, 9.89};
constexpr std::array<double, 9> kLaplacePositive{1.86, 2.83, 3.89, 5.02, 6.2, 7.41, 8.64, 9.89, 11.16};

double aciq_factor(const QuantSettings& settings) {
  check(settings.clip == ClipMode::gauss || settings.clip == ClipMode::laplace,
        "ACIQ clipping: expected GAUSS or LAPLACE, got {}", enum_name(settings.clip));
  const bool gauss = settings.clip == ClipMode::gauss;
  check(settings.bits >= (gauss ? 1 : 0) && settings.bits <= 8, "{} clipping is tabulated for {} to 8 bits, not for {}",
        enum_name(settings.clip), gauss ? 1 : 0, settings.bits);
  const auto& table =
      gauss ? (settings.half_range ? kGaussPositive : kGauss) : (settings.half_range ? kLaplacePositive : kLaplace);
  return table[static_cast<size_t>(settings.bits)];
}

float n_stds_of(const QuantSettings& settings) {
  check(settings.n_stds.has_value(), "N_STD clipping needs the number of standard deviations (clip_n_stds)");
  check(*settings.n_stds > 0, "N_STD clipping: expected more than 0 standard deviations, got {}", *settings.n_stds);
  return *settings.n_stds;
}

ValueRange mean_n_stds(const ValueRange& full, float mean, float std, float n_stds) {
  const float min = std::max(full.min, mean - n_stds * std);
  return {min, std::max(min, std::min(full.max, mean + n_stds * std))};  // the moments may be those before a ReLU
}

ValueRange average(const std::vector<ValueRange>& ranges) {
  double min = 0, max = 0;
  for (const ValueRange& range : ranges) {
    min += range.min;
    max += range.max;
  }
  const auto n = static_cast<double>(ranges.size());
  return {static_cast<float>(min / n), static_cast<float>(max / n)};
}

std::vector<ValueRange> channel_ranges_from_histograms(const Tensor& x, const QuantSettings& settings) {
  const auto channels = static_cast<size_t>(x.dim(-1)), rows = static_cast<size_t>(x.numel()) / channels;
  std::vector<ValueRange> ranges(channels);
  parallel_for(x.dim(-1), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> values(rows);
    for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
      for (size_t i = 0; i < rows; ++i) values[i] = x.data()[i * channels + c];
      ranges[c] = range_from_histogram(Histogram::of(values), min_max(values), settings);
    }
  });
  return ranges;
}

}  // namespace

ValueRange tensor_min_max(const Tensor& x) { return min_max(x.data()); }

std::vector<ValueRange> slice_min_max(const Tensor& x, Slices slices) {
  check(x.rank() > 0, "a scalar has no slices whose ranges could be told apart");
  check(x.numel() > 0, "the range of an empty tensor is not defined");
  const float* data = x.data().data();
  if (slices == Slices::samples) {
    const auto count = static_cast<size_t>(x.dim(0)), size = static_cast<size_t>(x.numel()) / count;
    std::vector<ValueRange> ranges(count);
    for (size_t i = 0; i < count; ++i) ranges[i] = min_max({data + i * size, size});
    return ranges;
  }
  const auto channels = static_cast<size_t>(x.dim(-1)), rows = static_cast<size_t>(x.numel()) / channels;
  std::vector<float> min(channels), max(channels);
  kernels().quantize.min_max_channels(data, rows, channels, min.data(), max.data());
  std::vector<ValueRange> ranges(channels);
  for (size_t c = 0; c < channels; ++c) ranges[c] = {min[c], max[c]};
  return ranges;
}

ValueRange tensor_avg_min_max(const Tensor& x, Slices slices) { return average(slice_min_max(x, slices)); }

Moments tensor_moments(const Tensor& x) {
  const auto n = static_cast<double>(x.numel());
  const float low = tensor_min_max(x).min;
  const double mean = sum_of(x.data()) / n;
  const Deviations deviations = deviations_from(mean, x.data());
  const double std = n > 1 ? std::sqrt(deviations.square / (n - 1)) : 0;
  return {low, static_cast<float>(mean), std, deviations.absolute / n};
}

ValueRange tensor_mean_n_stds(const Tensor& x, float n_stds) {
  check(n_stds > 0, "N_STD clipping: expected more than 0 standard deviations, got {}", n_stds);
  const Moments moments = tensor_moments(x);
  return mean_n_stds(tensor_min_max(x), moments.mean, static_cast<float>(moments.std), n_stds);
}

ValueRange aciq_range(const Moments& moments, const QuantSettings& settings) {
  const double deviation = settings.clip == ClipMode::gauss ? moments.std : moments.b;
  if (is_symmetric(settings.mode)) {
    QuantSettings both_sides = settings;
    both_sides.half_range = false;
    const float clip = std::fabs(moments.mean) + static_cast<float>(deviation * aciq_factor(both_sides));
    return {-clip, clip};
  }
  const auto alpha = static_cast<float>(deviation * aciq_factor(settings));
  const float min = std::max(moments.low, moments.mean - alpha);
  return {min, min + (settings.half_range ? alpha : 2 * alpha)};
}

std::vector<ValueRange> range_from_tensor(const Tensor& x, const QuantSettings& settings, Slices slices) {
  check(!settings.per_channel || x.rank() == 2 || x.rank() == 4,
        "per-channel quantization is for weights of linear and convolution layers (2 or 4 dimensions), got {}",
        x.shape());
  check(std::isfinite(sum_of(x.data())), "a tensor that holds NaN or infinity has no range to quantize");
  switch (settings.clip) {
    case ClipMode::none:
      if (settings.per_channel) return slice_min_max(x, Slices::output_channels);
      return {tensor_min_max(x)};
    case ClipMode::avg:
      return {tensor_avg_min_max(x, slices)};
    case ClipMode::n_std:
      check(!settings.per_channel, "N_STD clipping does not go with per-channel quantization");
      return {tensor_mean_n_stds(x, n_stds_of(settings))};
    case ClipMode::gauss:
    case ClipMode::laplace: {
      Moments moments = tensor_moments(x);
      if (settings.per_channel) moments.low = tensor_avg_min_max(x, slices).min;
      return {aciq_range(moments, settings)};
    }
    case ClipMode::percentile:
    case ClipMode::mse:
    case ClipMode::kl:
      if (settings.per_channel) return channel_ranges_from_histograms(x, settings);
      return {range_from_histogram(Histogram::of(x.data()), tensor_min_max(x), settings)};
  }
  fail("unknown clip mode");
}

ValueRange range_from_stats(const TensorStats& stats, const QuantSettings& settings) {
  check(!settings.per_channel, "statistics are per tensor: per-channel quantization needs the tensor itself");
  const ValueRange full{static_cast<float>(stats.min), static_cast<float>(stats.max)};
  const ValueRange averages{static_cast<float>(stats.avg_min), static_cast<float>(stats.avg_max)};
  const auto mean = static_cast<float>(stats.mean);
  switch (settings.clip) {
    case ClipMode::none:
      return full;
    case ClipMode::avg:
      return averages;
    case ClipMode::n_std:
      return mean_n_stds(full, mean, static_cast<float>(stats.std), n_stds_of(settings));
    case ClipMode::gauss:
    case ClipMode::laplace:
      return aciq_range({averages.min, mean, stats.std, stats.b}, settings);
    case ClipMode::percentile:
    case ClipMode::mse:
    case ClipMode::kl:
      check(stats.histogram.has_value(),
            "{} clipping needs a histogram, and these statistics have none: collect them again with `qgrad calibrate`",
            enum_name(settings.clip));
      return range_from_histogram(*stats.histogram, full, settings);
  }
  fail("unknown clip mode");
}

Grid grid_of(const Grid& at, const QuantSettings& settings) {
  const QuantizedRange range = quantized_range(settings.bits, settings.mode);
  return {at.scale, at.zero_point, range.qmin, range.qmax};
}

Grid grid_from_clipping(const ValueRange& range, const QuantSettings& settings) {
  Grid params = grid_from_range(settings.bits, settings.mode, range.min, range.max);
  if (settings.scale_approx_mult_bits)
    params.scale = approximate_scale(params.scale, *settings.scale_approx_mult_bits).value();
  return params;
}

ChannelGrid grid_from_ranges(const std::vector<ValueRange>& ranges, const QuantSettings& settings) {
  ChannelGrid grid({}, {}, quantized_range(settings.bits, settings.mode));
  for (const ValueRange& range : ranges) {
    const Grid one = grid_from_clipping(range, settings);
    grid.scale.push_back(one.scale);
    grid.zero_point.push_back(one.zero_point);
  }
  return grid;
}

ChannelGrid grid_from_tensor(const Tensor& x, const QuantSettings& settings, Slices slices) {
  return grid_from_ranges(range_from_tensor(x, settings, slices), settings);
}

Grid grid_from_stats(const TensorStats& stats, const QuantSettings& settings) {
  return grid_from_clipping(range_from_stats(stats, settings), settings);
}

}  // namespace qgrad
