// Clipping by percentile, square error and divergence, against exhaustive search over the values themselves.
#include "quant/ranges/from_histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/config.h"
#include "quant/ranges/stats.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

using namespace qgrad;

namespace {

constexpr LinearQuantMode kModes[] = {LinearQuantMode::symmetric, LinearQuantMode::symmetric_restricted,
                                      LinearQuantMode::asymmetric_unsigned, LinearQuantMode::asymmetric_signed};

// Heavy tails, more of them on the positive side.
Tensor long_tailed(size_t n, uint64_t seed) {
  std::vector<float> values = test::normal_values(n, seed);
  for (float& x : values) x *= x > 0 ? x * x : std::fabs(x);
  return Tensor::from({static_cast<int64_t>(n)}, values);
}

// Of quantizing the values themselves.
double exact_error(const Tensor& x, const ValueRange& range, const QuantSettings& settings) {
  const Grid grid = grid_from_clipping(range, settings);
  const Tensor y = linear_dequantize(linear_quantize(x, grid), grid);
  double sum = 0;
  for (size_t i = 0; i < x.data().size(); ++i) sum += std::pow(static_cast<double>(x.data()[i]) - y.data()[i], 2);
  return sum / static_cast<double>(x.numel());
}

double least_error(const Tensor& x, const QuantSettings& settings) {
  const ValueRange full = tensor_min_max(x);
  const int steps = 64;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 1; i <= steps; ++i)
    for (int j = 1; j <= steps; ++j) {
      if (is_symmetric(settings.mode) && i != j) continue;
      const auto a = static_cast<float>(i) / steps, b = static_cast<float>(j) / steps;
      const ValueRange range = is_symmetric(settings.mode) ? ValueRange{-a * full.max_abs(), a * full.max_abs()}
                                                           : ValueRange{a * full.min, b * full.max};
      least = std::min(least, exact_error(x, range, settings));
    }
  return least;
}

ValueRange range_of(const Tensor& x, const QuantSettings& settings) {
  return range_from_tensor(x, settings, Slices::samples)[0];
}

// Migacz's procedure step by step: the divergence for a threshold after `kept` bins.
double reference_divergence(const std::vector<int64_t>& counts, size_t kept, size_t levels) {
  std::vector<double> p(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(kept)), q(kept, 0.0);
  for (size_t level = 0; level < levels; ++level) {
    const size_t begin = level * kept / levels, end = (level + 1) * kept / levels;
    double sum = 0, used = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += p[i];
      used += p[i] > 0;
    }
    for (size_t i = begin; i < end; ++i)
      if (p[i] > 0) q[i] = sum / used;
  }
  for (size_t i = kept; i < counts.size(); ++i) p[kept - 1] += static_cast<double>(counts[i]);
  double p_sum = 0, q_sum = 0, divergence = 0;
  for (size_t i = 0; i < kept; ++i) {
    p_sum += p[i];
    q_sum += q[i];
  }
  for (size_t i = 0; i < kept; ++i)
    if (p[i] > 0) divergence += p[i] / p_sum * std::log(p[i] / p_sum / (q[i] / q_sum));
  return divergence;
}

}  // namespace

TEST_CASE("MSE clipping comes as close to the values as exhaustive search") {
  const Tensor x = long_tailed(3000, 1);
  for (const LinearQuantMode mode : kModes)
    for (const int bits : {2, 3, 4, 6}) {
      const QuantSettings settings{.bits = bits, .mode = mode, .clip = ClipMode::mse};
      INFO(enum_name(mode) << " " << bits << " bits");
      const double error = exact_error(x, range_of(x, settings), settings);
      CHECK(error <= 1.01 * least_error(x, settings));
      CHECK(error <= exact_error(x, tensor_min_max(x), settings));
    }
}

TEST_CASE("the square error read off a histogram is that of the values") {
  const Tensor x = long_tailed(20000, 2);
  const Histogram h = Histogram::of(x.data());
  for (const LinearQuantMode mode : kModes)
    for (const ValueRange range : {ValueRange{-1, 1}, ValueRange{-4, 9}}) {
      const QuantSettings settings{.bits = 4, .mode = mode};
      INFO(enum_name(mode) << " " << range.max);
      CHECK(mean_square_error(h, range, settings) == Approx(exact_error(x, range, settings)).epsilon(0.01));
    }
}

TEST_CASE("PERCENTILE clipping keeps the percentage of values that it is told") {
  const Tensor x = long_tailed(50000, 3);
  const double margin = 2 * Histogram::of(x.data()).bin_width;
  std::vector<float> sorted = test::values(x), magnitudes = sorted;
  for (float& m : magnitudes) m = std::fabs(m);
  std::ranges::sort(sorted);
  std::ranges::sort(magnitudes);
  const QuantSettings settings{.mode = LinearQuantMode::symmetric, .clip = ClipMode::percentile, .percentile = 99.0f};
  CHECK(range_of(x, settings).max == Approx(magnitudes[49500]).margin(margin));
  CHECK(range_of(x, settings).min == -range_of(x, settings).max);

  QuantSettings asymmetric = settings;
  asymmetric.mode = LinearQuantMode::asymmetric_signed;
  CHECK(range_of(x, asymmetric).min == Approx(sorted[250]).margin(margin));
  CHECK(range_of(x, asymmetric).max == Approx(sorted[49750]).margin(margin));

  asymmetric.percentile = 100;
  CHECK(range_of(x, asymmetric).min == sorted.front());
  CHECK(range_of(x, asymmetric).max == sorted.back());
}

TEST_CASE("KL clipping finds the threshold of least divergence") {
  const Tensor x = long_tailed(100000, 4);
  for (const int bits : {4, 6, 8}) {
    INFO(bits << " bits");
    const QuantSettings settings{.bits = bits, .mode = LinearQuantMode::symmetric, .clip = ClipMode::kl};
    Histogram h = Histogram::of(x.data()).of_magnitudes();
    h.counts[0] = h.counts[1];
    const size_t levels = size_t{1} << (bits - 1);
    double least = std::numeric_limits<double>::infinity();
    for (size_t kept = levels; kept <= h.counts.size(); ++kept)
      if (h.counts[kept - 1] > 0) least = std::min(least, reference_divergence(h.counts, kept, levels));
    const auto found = static_cast<size_t>(std::lround(range_of(x, settings).max / h.bin_width));
    CHECK(found < h.counts.size() / 2);
    CHECK(reference_divergence(h.counts, found, levels) <= 1.05 * least);
  }
  const Tensor uniform = test::uniform_tensor({100000}, 5, -2, 2);
  CHECK(range_of(uniform, {.bits = 8, .clip = ClipMode::kl}).max > 1.9f);
}

TEST_CASE("clipping never goes beyond the values, and starts at zero where only positive ones matter") {
  const Tensor x = long_tailed(1000, 6);
  const ValueRange full = tensor_min_max(x);
  for (const ClipMode clip : {ClipMode::percentile, ClipMode::mse, ClipMode::kl})
    for (const LinearQuantMode mode : kModes)
      for (const int bits : {1, 2, 8, 16, 32}) {
        if (bits == 1 && is_symmetric(mode)) continue;
        INFO(enum_name(clip) << " " << enum_name(mode) << " " << bits);
        QuantSettings settings{.bits = bits, .mode = mode, .clip = clip, .percentile = 99.9f};
        const ValueRange range = range_of(x, settings);
        CHECK(range.min <= 0);
        CHECK(range.max > 0);
        CHECK(range.max <= full.max_abs());
        CHECK(range.min >= (is_symmetric(mode) ? -full.max_abs() : full.min));
        settings.half_range = true;
        const ValueRange half = range_of(x, settings);
        CHECK(half.min == (is_symmetric(mode) ? -half.max : 0));
        CHECK(half.max > 0);
        CHECK(half.max <= full.max);
      }
  for (const float constant : {0.0f, 2.5f, -1.0f})
    for (const ClipMode clip : {ClipMode::percentile, ClipMode::mse, ClipMode::kl})
      for (const LinearQuantMode mode : kModes)
        CHECK_NOTHROW(grid_from_tensor(Tensor::full({5}, constant),
                                       {.bits = 4, .mode = mode, .clip = clip, .percentile = 90.0f}, Slices::samples));
}

TEST_CASE("per channel, every channel is clipped for itself") {
  const Tensor weight = test::normal_tensor({3, 3, 8, 5}, 7);
  for (const ClipMode clip : {ClipMode::percentile, ClipMode::mse, ClipMode::kl}) {
    QuantSettings settings{.bits = 4, .clip = clip, .percentile = 95.0f, .per_channel = true};
    const std::vector<ValueRange> ranges = range_from_tensor(weight, settings, Slices::output_channels);
    REQUIRE(ranges.size() == 5);
    settings.per_channel = false;
    for (size_t c = 0; c < 5; ++c) {
      std::vector<float> channel;
      for (size_t i = c; i < weight.data().size(); i += 5) channel.push_back(weight.data()[i]);
      const Tensor alone = Tensor::from({static_cast<int64_t>(channel.size())}, channel);
      CHECK(range_of(alone, settings).max == ranges[c].max);
      CHECK(range_of(alone, settings).min == ranges[c].min);
    }
  }
}

TEST_CASE("clip modes without what they need are errors") {
  const Tensor x = long_tailed(100, 8);
  QuantSettings settings{.clip = ClipMode::percentile};
  const auto error = [&] { return test::error_of([&] { range_of(x, settings); }); };
  CHECK_THAT(error(), Contains("PERCENTILE") && Contains("clip_percentile"));
  settings.percentile = 50;
  CHECK_THAT(error(), Contains("more than 50 and at most 100 percent, got 50"));
  settings.percentile = 100.5f;
  CHECK_THAT(error(), Contains("got 100.5"));
  for (const ClipMode clip : {ClipMode::percentile, ClipMode::mse, ClipMode::kl})
    CHECK_THAT(test::error_of([&] { range_from_stats(TensorStats{.max = 1}, {.clip = clip, .percentile = 99.0f}); }),
               Contains(enum_name(clip) + " clipping needs a histogram") && Contains("qgrad calibrate"));
}
