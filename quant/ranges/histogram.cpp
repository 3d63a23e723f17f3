// Filling and reading histograms.
#include "quant/ranges/histogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"
#include "quant/ranges/reductions.h"

namespace qgrad {
namespace {

constexpr int64_t kHistogramGrain = 1 << 16;

// The same counts in bins from first to last: those of bin i are added to bin to(i).
template <class To>
Histogram moved(const Histogram& h, double bin_width, int64_t first, int64_t last, To&& to) {
  Histogram result{bin_width, first, std::vector<int64_t>(static_cast<size_t>(last - first + 1))};
  for (size_t i = 0; i < h.counts.size(); ++i)
    result.counts[static_cast<size_t>(to(h.first_bin + static_cast<int64_t>(i)) - first)] += h.counts[i];
  return result;
}

int64_t last_bin(const Histogram& h) { return h.first_bin + static_cast<int64_t>(h.counts.size()) - 1; }

int64_t bin_of(const Histogram& h, double value) {
  constexpr double kFarthest = 0x1p50;  // a file may say anything
  return static_cast<int64_t>(std::clamp(std::floor(value / h.bin_width), -kFarthest, kFarthest));
}

}  // namespace

Histogram Histogram::over(const ValueRange& range) {
  const double span = static_cast<double>(range.max) - range.min;
  check(span >= 0 && std::isfinite(span), "histogram: expected a finite range, got {} to {}", range.min, range.max);
  // Bins that floats near the range's ends can still tell apart, with indices that are exact in float.
  double width = std::ldexp(1.0, std::max(-100, range.max_abs() > 0 ? std::ilogb(range.max_abs()) - 22 : 0));
  while (width * (kBins - 1) < span) width *= 2;
  Histogram h{width, 0, {}};
  h.first_bin = bin_of(h, range.min);
  h.counts.resize(static_cast<size_t>(bin_of(h, range.max) - h.first_bin + 1));
  return h;
}

Histogram Histogram::of(std::span<const float> values) {
  Histogram h = over(min_max(values));
  h.add(values);
  return h;
}

void Histogram::add(std::span<const float> values) {
  const auto per_value = static_cast<float>(1 / bin_width), first = static_cast<float>(first_bin);
  const auto last = static_cast<float>(counts.size() - 1);
  std::mutex mutex;
  parallel_for(static_cast<int64_t>(values.size()), kHistogramGrain, [&](int64_t begin, int64_t end) {
    std::array<int32_t, kBins> part{};
    for (const float x : values.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))) {
      const float position = std::floor(x * per_value) - first;
      ++part[static_cast<size_t>(position > 0 ? std::min(position, last) : 0.0f)];
    }
    const std::lock_guard lock(mutex);  // integers: the order of the chunks does not matter
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += part[i];
  });
}

int64_t Histogram::total() const { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

double Histogram::quantile(double share) const {
  const double wanted = share * static_cast<double>(total());
  double below = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<double>(counts[i]);
    if (count > 0 && below + count >= wanted) return edge(i) + bin_width * (wanted - below) / count;
    below += count;
  }
  return edge(counts.size());
}

Histogram Histogram::clipped(double low, double high) const {
  const int64_t first = std::min(std::max(first_bin, bin_of(*this, low)), bin_of(*this, high));
  const int64_t last = std::max(first, std::min(last_bin(*this), bin_of(*this, high)));
  return moved(*this, bin_width, first, last, [&](int64_t bin) { return std::clamp(bin, first, last); });
}

Histogram Histogram::coarser() const {
  return moved(*this, 2 * bin_width, first_bin >> 1, last_bin(*this) >> 1, [](int64_t bin) { return bin >> 1; });
}

Histogram Histogram::of_magnitudes() const {
  const auto magnitude = [](int64_t bin) { return bin < 0 ? -bin - 1 : bin; };
  const int64_t last = std::max(magnitude(first_bin), magnitude(last_bin(*this)));
  return last < kBins ? moved(*this, bin_width, 0, last, magnitude) : coarser().of_magnitudes();
}

}  // namespace qgrad
