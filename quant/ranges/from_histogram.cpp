// Searching histograms for the range to quantize.
#include "quant/ranges/from_histogram.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {
namespace {

// The integral of the square error from the grid's first point to u, in steps of the grid, whose points are 0 .. last:
// every whole step between two points adds 1/12.
double accumulated_error(double u, double last) {
  const double nearest = std::clamp(std::nearbyint(u), 0.0, last), rest = u - nearest;
  return nearest / 12 + rest * rest * rest / 3;
}

// The share of 1 that gives the least error, never more than `start` does: on a coarse grid, then on a fine one around
// its best.
double best_share(double start, const std::function<double(double)>& error) {
  constexpr int kCoarse = 128, kFine = 16;
  double best = start, least = error(start);
  const auto attempt = [&](double share) {
    if (share <= 0 || share > 1) return;
    if (const double e = error(share); e < least) {
      least = e;
      best = share;
    }
  };
  for (int i = kCoarse; i > 0; --i) attempt(static_cast<double>(i) / kCoarse);
  const double centre = best;
  for (int i = kFine - 1; i > -kFine; --i) attempt(centre + static_cast<double>(i) / (kCoarse * kFine));
  return best;
}

ValueRange scaled(const ValueRange& range, double share_min, double share_max) {
  return {static_cast<float>(share_min * range.min), static_cast<float>(share_max * range.max)};
}

ValueRange mse_range(const Histogram& h, const ValueRange& full, const QuantSettings& settings) {
  const auto error = [&](double share_min, double share_max) {
    return mean_square_error(h, scaled(full, share_min, share_max), settings);
  };
  const double both = best_share(1, [&](double share) { return error(share, share); });
  if (is_symmetric(settings.mode) || full.min >= 0 || full.max <= 0) return scaled(full, both, both);
  double min = both, max = both;
  for (int round = 0; round < 2; ++round) {
    max = best_share(max, [&](double share) { return error(min, share); });
    min = best_share(min, [&](double share) { return error(share, max); });
  }
  return scaled(full, min, max);
}

// Divergence of the first `kept` bins, quantized to `levels`, from those bins with everything beyond in the last one.
// Quantizing spreads a level's sum evenly over its bins that are not empty.
double divergence(std::span<const int64_t> counts, size_t kept, size_t levels, double total, double beyond) {
  double sum = 0;
  const double inside = total - beyond;
  for (size_t level = 0; level < levels; ++level) {
    const size_t begin = level * kept / levels, end = (level + 1) * kept / levels;
    double level_sum = 0, used = 0;
    for (size_t i = begin; i < end; ++i) {
      level_sum += static_cast<double>(counts[i]);
      used += counts[i] > 0;
    }
    for (size_t i = begin; i < end; ++i) {
      const double p = static_cast<double>(counts[i]) + (i + 1 == kept ? beyond : 0);
      if (p == 0) continue;
      if (counts[i] == 0) return std::numeric_limits<double>::infinity();
      sum += p / total * std::log(p / total * inside * used / level_sum);
    }
  }
  return sum;
}

// The threshold for magnitudes. Distributions can be compared only where bins hold several values: bins are merged in
// pairs until there are enough in each.
double kl_threshold(Histogram h, size_t levels) {
  constexpr int64_t kValuesPerBin = 8;
  while (h.counts.size() > levels && h.total() < kValuesPerBin * static_cast<int64_t>(h.counts.size())) h = h.coarser();
  // Zeros are exact at any scale, but ReLU makes so many that they would outweigh all else.
  if (h.counts.size() > 1) h.counts[0] = h.counts[1];
  const size_t bins = h.counts.size(), stride = std::max<size_t>(1, bins / 512);
  const auto total = static_cast<double>(h.total());
  double best = h.edge(bins), least = std::numeric_limits<double>::infinity(), beyond = 0;
  for (size_t kept = bins; kept >= std::max<size_t>(levels, 1); --kept) {
    if (kept < bins) beyond += static_cast<double>(h.counts[kept]);
    if ((bins - kept) % stride != 0 || beyond == total) continue;
    if (const double d = divergence(h.counts, kept, levels, total, beyond); d < least) {
      least = d;
      best = h.edge(kept);
    }
  }
  return best;
}

ValueRange percentile_range(const Histogram& h, const QuantSettings& settings, bool one_threshold) {
  check(settings.percentile.has_value(),
        "PERCENTILE clipping needs the percentage of values to keep (clip_percentile)");
  const double share = *settings.percentile / 100.0;
  check(share > 0.5 && share <= 1, "PERCENTILE clipping: expected more than 50 and at most 100 percent, got {}",
        *settings.percentile);
  if (one_threshold) {
    const auto t = static_cast<float>(h.of_magnitudes().quantile(share));
    return {-t, t};
  }
  return {static_cast<float>(h.quantile((1 - share) / 2)), static_cast<float>(h.quantile((1 + share) / 2))};
}

}  // namespace

bool needs_histogram(ClipMode clip) {
  return clip == ClipMode::percentile || clip == ClipMode::mse || clip == ClipMode::kl;
}

double mean_square_error(const Histogram& h, const ValueRange& range, const QuantSettings& settings) {
  const Grid grid = grid_from_clipping(range, settings);
  const double scale = grid.scale, last = static_cast<double>(grid.qmax) - grid.qmin;
  const double first = static_cast<double>(grid.qmin) + grid.zero_point;
  double error = 0;
  for (size_t i = 0; i < h.counts.size(); ++i)
    if (h.counts[i] > 0)
      error += static_cast<double>(h.counts[i]) * (accumulated_error(scale * h.edge(i + 1) - first, last) -
                                                   accumulated_error(scale * h.edge(i) - first, last));
  return error / (scale * scale * scale * h.bin_width * static_cast<double>(h.total()));
}

ValueRange range_from_histogram(const Histogram& values, const ValueRange& value_range, const QuantSettings& settings) {
  Histogram h = values;
  ValueRange full = value_range;
  if (settings.half_range) {
    full = {0, std::max(0.0f, full.max)};
    h = h.clipped(0, full.max);
  }
  const bool symmetric = is_symmetric(settings.mode), one_sided = full.min >= 0 || full.max <= 0;
  if (symmetric) full = {-full.max_abs(), full.max_abs()};
  ValueRange range;
  switch (settings.clip) {
    case ClipMode::percentile:
      range = percentile_range(h, settings, symmetric || settings.half_range);
      break;
    case ClipMode::mse:
      range = mse_range(h, full, settings);
      break;
    case ClipMode::kl: {
      const int bits = symmetric || !one_sided ? settings.bits - 1 : settings.bits;
      const auto t = static_cast<float>(kl_threshold(h.of_magnitudes(), size_t{1} << bits));
      range = {-t, t};
      break;
    }
    default:
      fail("clip mode {} does not work on histograms", enum_name(settings.clip));
  }
  return {std::clamp(range.min, full.min, full.max), std::clamp(range.max, full.min, full.max)};
}

}  // namespace qgrad
