// Counts of values in bins of equal width: what calibration remembers of how a tensor's values are distributed, in
// memory that does not depend on their number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quant/affine.h"

namespace qgrad {

// Bin i holds the values in [edge(i), edge(i + 1)), edge(i) = (first_bin + i) * bin_width. The width is a power of two:
// zero is always an edge, values are put into bins without rounding, and the counts depend on nothing but the values.
struct Histogram {
  static constexpr int64_t kBins = 2048;  // at the most, and more than half of that unless few cover the range

  double bin_width = 1;
  int64_t first_bin = 0;
  std::vector<int64_t> counts;  // none: there is no histogram

  // Empty bins over a range.
  static Histogram over(const ValueRange& range);
  static Histogram of(std::span<const float> values);

  // Values outside of the bins are counted in the last bin on their side.
  void add(std::span<const float> values);

  int64_t total() const;
  double edge(size_t i) const { return static_cast<double>(first_bin + static_cast<int64_t>(i)) * bin_width; }
  // The value below which this share of the values lies, as if they were spread evenly within each bin.
  double quantile(double share) const;

  // With the values below `low` at low, and those above `high` at high.
  Histogram clipped(double low, double high) const;
  Histogram coarser() const;  // with bins twice as wide
  // Of |x|, from 0 on, in wider bins where the values are far from it; a negative value on an edge counts below it.
  Histogram of_magnitudes() const;
};

}  // namespace qgrad
