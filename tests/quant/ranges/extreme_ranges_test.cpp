// Ranges from the smallest to the largest that a float can hold, through every function that makes a scale: it is
// finite and positive, and brings values back to within a step, or the range is refused.
#include <cmath>
#include <limits>

#include "quant/ranges/ranges.h"
#include "quant/ranges/stats.h"
#include "quant/train/fake_quant.h"
#include "quant/train/learned.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace extreme_ranges_test {

using namespace qgrad;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kLargest = std::numeric_limits<float>::max(),
                kSmallest = std::numeric_limits<float>::denorm_min();
constexpr LinearQuantMode kModes[] = {LinearQuantMode::symmetric, LinearQuantMode::symmetric_restricted,
                                      LinearQuantMode::asymmetric_unsigned, LinearQuantMode::asymmetric_signed};

std::vector<float> magnitudes() {
  std::vector<float> all{0, kSmallest, 1e-45f, 1e-41f, 1.1754942e-38f, 1e30f, 1.5e38f, 3.38e38f, kLargest};
  for (int exponent = -148; exponent <= 127; exponent += 3) all.push_back(std::ldexp(1.3f, exponent));
  return all;
}

std::vector<ValueRange> ranges() {
  std::vector<ValueRange> all;
  for (const float m : magnitudes())
    for (const ValueRange& r : {ValueRange{-m, m}, {0, m}, {-m, 0}, {m, m}, {-m, -m}, {-m / 3, m}, {-m, m / 1000}})
      all.push_back(r);
  return all;
}

// "" where values of the range come back to within a step, or to within what floats of their size can tell.
std::string round_trip(const ValueRange& range, const Grid& grid) {
  if (!(grid.scale > 0) || !std::isfinite(grid.scale) || !std::isfinite(grid.zero_point))
    return fmt::format("scale {}, zero point {}", grid.scale, grid.zero_point);
  const float low = std::min(range.min, 0.0f), high = std::max(range.max, 0.0f);
  const std::vector<float> x{low, low / 2, low / 7, 0, high / 7, high / 2, high};
  const std::vector<float> back = test::values(linear_dequantize(linear_quantize(Tensor::from({7}, x), grid), grid));
  const ValueRange ends = representable_range(grid);
  for (size_t i = 0; i < x.size(); ++i) {
    const double clamped = std::clamp(x[i], ends.min, ends.max), step = 1 / double{grid.scale};
    const double apart = std::fabs(back[i] - clamped), size = std::max(std::fabs(low), std::fabs(high));
    const double told_apart = size * 0x1p-20 + std::fabs(grid.zero_point) * step * 0x1p-22;
    if (!(apart <= step * 1.001 + told_apart)) return fmt::format("{} comes back as {}", x[i], back[i]);
  }
  return "";
}

bool is_refusal(const std::string& error) {
  return error.find("beyond float") != std::string::npos || error.find("wider than") != std::string::npos;
}

}  // namespace

TEST_CASE("a scale is finite and positive, whatever the range, or the range is refused") {
  int refused = 0;
  for (const ValueRange& range : ranges())
    for (const LinearQuantMode mode : kModes)
      for (const int bits : {2, 3, 4, 8, 16, 32}) {
        INFO(range.min << " to " << range.max << ", " << bits << " bits, mode " << static_cast<int>(mode));
        Grid grid;
        const std::string error = test::error_of([&] { grid = grid_from_range(bits, mode, range.min, range.max); });
        if (error != "no error") {
          CHECK(is_refusal(error));
          CHECK(std::max(std::fabs(range.min), std::fabs(range.max)) > 1e38f);
          ++refused;
          continue;
        }
        CHECK(round_trip(range, grid) == "");
      }
  CHECK(refused > 0);
}

TEST_CASE("ranges of which no float scale is small enough get the grid of the smallest normal step") {
  for (const float m : {kSmallest, 1e-41f, 3e-39f}) {
    CHECK(symmetric_grid(8, m, false).scale == 0x1p126f);
    CHECK(asymmetric_grid(8, 0, m).scale == 0x1p126f);
  }
  CHECK(symmetric_grid(8, 1e-36f, false).scale == (1 / 1e-36f) * 127.5f);
}

TEST_CASE("ranges that are no ranges are errors that say so") {
  const auto error = [](auto... arguments) { return test::error_of([&] { grid_from_range(8, arguments...); }); };
  CHECK_THAT(error(LinearQuantMode::symmetric, 0.0f, kInfinity), Contains("must be finite") && Contains("inf"));
  CHECK_THAT(error(LinearQuantMode::symmetric, NAN, NAN), Contains("must be finite") && Contains("nan"));
  CHECK_THAT(error(LinearQuantMode::asymmetric_unsigned, -kInfinity, 1.0f), Contains("finite range, got -inf to 1"));
  CHECK_THAT(error(LinearQuantMode::asymmetric_signed, 0.0f, NAN), Contains("finite range, got 0 to nan"));
  CHECK_THAT(error(LinearQuantMode::asymmetric_signed, -3e38f, 3e38f), Contains("-3e+38 to 3e+38 is wider"));
}

TEST_CASE("tensors of every size of values are quantized in every clip mode, and those with NaN or infinity refused") {
  for (const float m : magnitudes())
    for (const ClipMode clip : {ClipMode::none, ClipMode::avg, ClipMode::n_std, ClipMode::gauss, ClipMode::laplace,
                                ClipMode::percentile, ClipMode::mse, ClipMode::kl})
      for (const LinearQuantMode mode : kModes)
        for (const bool per_channel : {false, true}) {
          if (per_channel && clip == ClipMode::n_std) continue;
          const QuantSettings settings{
              .bits = 4, .mode = mode, .clip = clip, .n_stds = 2.0f, .percentile = 99.0f, .per_channel = per_channel};
          INFO(m << ", clip " << static_cast<int>(clip) << ", mode " << static_cast<int>(mode) << per_channel);
          std::vector<float> values = test::uniform_values(24, 3, -1, 1);
          for (float& v : values) v *= m;
          Tensor x = Tensor::from({6, 4}, values);
          ChannelGrid grid;
          const std::string error =
              test::error_of([&] { grid = grid_from_tensor(x, settings, Slices::output_channels); });
          if (error != "no error") {
            CHECK(m > 3e37f);
          } else {
            for (size_t c = 0; c < grid.scale.size(); ++c) CHECK(round_trip({-m, m}, grid.channel(c)) == "");
          }
          for (const float wrong : {NAN, kInfinity, -kInfinity}) {
            x.mutable_data()[13] = wrong;
            CHECK_THAT(test::error_of([&] { grid_from_tensor(x, settings, Slices::output_channels); }),
                       Contains("NaN or infinity"));
          }
        }
}

TEST_CASE("statistics of every size are quantized in every clip mode") {
  for (const float m : magnitudes())
    for (const ClipMode clip : {ClipMode::none, ClipMode::avg, ClipMode::n_std, ClipMode::gauss, ClipMode::laplace})
      for (const LinearQuantMode mode : kModes) {
        INFO(m << ", clip " << static_cast<int>(clip) << ", mode " << static_cast<int>(mode));
        const TensorStats stats{
            .min = -m / 2, .max = m, .avg_min = -m / 3, .avg_max = m / 2, .mean = m / 4, .std = m / 2, .b = m / 3};
        Grid params;
        const std::string error = test::error_of(
            [&] { params = grid_from_stats(stats, {.bits = 8, .mode = mode, .clip = clip, .n_stds = 2.0f}); });
        if (error != "no error")
          CHECK(m > 3e37f);
        else
          CHECK((params.scale > 0 && std::isfinite(params.scale)));
      }
}

TEST_CASE("every positive scale is approximated by a multiplier of those bits") {
  for (const float m : magnitudes())
    for (const int bits : {2, 3, 8, 16, 24}) {
      if (m == 0) continue;
      INFO(m << " with " << bits << " bits");
      const ScaleApproximation approximation = approximate_scale(m, bits);
      CHECK(approximation.multiplier >= 1);
      CHECK(approximation.multiplier < std::ldexp(1.0f, bits));
      CHECK(std::ldexp(double{approximation.multiplier}, -approximation.shift) <= m);
      CHECK(std::ldexp(double{approximation.multiplier}, -approximation.shift) > double{m} * 0.499);
    }
}

TEST_CASE("one multiplier bit leaves nothing of most scales, and is refused there") {
  CHECK(approximate_scale(0.25f, 1).value() == 0.25f);
  CHECK_THAT(test::error_of([] { approximate_scale(0.3f, 1); }), Contains("1 multiplier bits leave nothing of 0.3"));
}

TEST_CASE("ranges that training follows and grids that it learns are finite for values of every size") {
  for (const float m : {kSmallest, 1e-41f, 1e-38f, 1e-30f, 1e-6f, 1.0f, 1e6f, 1e30f}) {
    INFO(m);
    std::vector<float> values = test::uniform_values(24, 3, -1, 1);
    for (float& v : values) v *= m;
    const Tensor x = Tensor::from({6, 4}, values);
    const auto check_finite = [&](UnaryModule& quantize) {
      INFO(quantize.kind());
      for (const float y : test::values(quantize(x))) CHECK(std::isfinite(y));
      quantize.set_training(false);
      for (const float y : test::values(quantize(x))) CHECK(std::isfinite(y));
    };
    for (const LinearQuantMode mode : kModes) {
      FakeLinearQuantization range({.bits = 4, .mode = mode});
      check_finite(range);
    }
    for (const char* quantizer : {"LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer", "N2UQQuantizer"})
      for (const Role role : {Role::weights, Role::positive, Role::rectified, Role::any_sign}) {
        if (quantizer == std::string("LSQPlusQuantizer") && role == Role::rectified) continue;  // stands behind a ReLU
        test::Learned grid(quantizer, 4, role);
        grid->start_from(x);
        check_finite(*grid);
      }
  }
}

}  // namespace extreme_ranges_test
