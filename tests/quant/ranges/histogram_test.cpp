// Histograms: every value in its bin, whatever the order, and what is read off them.
#include "quant/ranges/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/parallel.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;

namespace {

std::vector<int64_t> counted(const Histogram& h, std::span<const float> values) {
  std::vector<int64_t> counts(h.counts.size());
  for (const float x : values) {
    size_t i = 0;
    while (i + 1 < counts.size() && h.edge(i + 1) <= x) ++i;
    ++counts[i];
  }
  return counts;
}

}  // namespace

TEST_CASE("a histogram counts every value in the bin it lies in, and zero is an edge") {
  for (const ValueRange range : {ValueRange{-1, 1}, ValueRange{0, 6}, ValueRange{-3e-8f, 1e-8f},
                                 ValueRange{-2e30f, 1e30f}, ValueRange{100, 100.5f}, ValueRange{-7, -3}}) {
    INFO(range.min << " to " << range.max);
    std::vector<float> values = test::uniform_values(5000, 1, range.min, range.max);
    values.insert(values.end(), {range.min, range.max});
    const Histogram h = Histogram::of(values);
    CHECK(h.counts == counted(h, values));
    CHECK(h.total() == 5002);
    CHECK(h.counts.size() > Histogram::kBins / 2);
    CHECK(h.counts.size() <= Histogram::kBins);
    CHECK(std::exp2(std::round(std::log2(h.bin_width))) == h.bin_width);
    CHECK(h.edge(0) <= range.min);
    CHECK(h.edge(h.counts.size()) > range.max);
  }
}

TEST_CASE("a histogram of equal values, zeros too, holds them all") {
  for (const float x : {0.0f, 3.0f, -1e-30f, 1e-42f}) {
    const Histogram h = Histogram::of(std::vector(7, x));
    CHECK(h.total() == 7);
    CHECK(h.edge(0) <= x);
    CHECK(h.edge(h.counts.size()) > x);
  }
}

TEST_CASE("a histogram does not depend on batches, their order or the number of threads") {
  const std::vector<float> values = test::normal_values(300000, 2);
  const Histogram expected = Histogram::of(values);
  const std::span<const float> all = values;
  const int threads = num_threads();
  set_num_threads(3);
  Histogram h = Histogram::over({*std::ranges::min_element(values), *std::ranges::max_element(values)});
  for (const auto& part : {all.subspan(200001), all.first(7), all.subspan(7, 199994)}) h.add(part);
  set_num_threads(threads);
  CHECK(h.counts == expected.counts);
  CHECK(h.first_bin == expected.first_bin);
}

TEST_CASE("values outside of a histogram's range, NaN too, are counted at its ends") {
  Histogram h = Histogram::over({-1, 1});
  h.add(std::vector{-5.0f, 5.0f, std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()});
  CHECK(h.counts.front() == 2);
  CHECK(h.counts.back() == 2);
  CHECK(test::error_of([] {
          Histogram::over({0, std::numeric_limits<float>::infinity()});
        }).find("expected a finite range") != std::string::npos);
}

TEST_CASE("a histogram's quantiles lie within a bin of those of the values") {
  std::vector<float> values = test::normal_values(20001, 3);
  const Histogram h = Histogram::of(values);
  std::ranges::sort(values);
  for (const double share : {0.0, 0.001, 0.3, 0.5, 0.99, 0.9999, 1.0})
    CHECK(h.quantile(share) == Approx(values[static_cast<size_t>(share * 20000)]).margin(1.01 * h.bin_width));
}

TEST_CASE("clipping a histogram moves what lies beyond to its ends") {
  std::vector<float> values = test::normal_values(5000, 4);
  values.insert(values.end(), {-4.1f, 4.0f});
  const Histogram h = Histogram::of(values), clipped = h.clipped(0, 1);
  std::vector<float> expected = values;
  for (float& x : expected) x = std::clamp(x, 0.0f, 1.0f);
  CHECK(clipped.counts == counted(clipped, expected));
  CHECK(clipped.edge(0) == 0);
  CHECK(h.clipped(5, 6).total() == h.total());
  CHECK(h.clipped(5, 6).edge(0) == Approx(5).margin(h.bin_width));
  CHECK(h.clipped(-6, -5).edge(0) == Approx(-5).margin(h.bin_width));

  for (float& x : values) x = std::fabs(x);
  const Histogram magnitudes = h.of_magnitudes();
  CHECK(magnitudes.edge(0) == 0);
  const Histogram far = Histogram::of(std::vector{-1000.5f, -1000.0f}).of_magnitudes();
  CHECK(far.counts.size() <= Histogram::kBins);
  CHECK(far.edge(0) == 0);
  CHECK(far.edge(far.counts.size()) == Approx(1000.5).margin(far.bin_width));
  CHECK(magnitudes.counts == counted(magnitudes, values));
}

TEST_CASE("a histogram with bins twice as wide counts the same values") {
  const std::vector<float> values = test::normal_values(5000, 5);
  const Histogram coarser = Histogram::of(values).coarser();
  CHECK(coarser.bin_width == 2 * Histogram::of(values).bin_width);
  CHECK(coarser.counts == counted(coarser, values));
}
