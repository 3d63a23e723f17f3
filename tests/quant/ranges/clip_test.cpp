// Ranges of tensors and statistics under every clip mode: golden vectors and errors.
#include "quant/ranges/ranges.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/ops.h"
#include "quant/ranges/stats.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/modes.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

// Keeps dimensions 0..d as one, and the rest as another; d is checked as the original does.
Tensor merged(const Tensor& x, int d) {
  check(d < x.rank(), "dimension {} of a tensor of shape {}", d, x.shape());
  const int64_t slices = x.shape().numel_until(d + 1);
  return x.reshaped({slices, x.numel() / slices});
}

std::optional<int> dimension(const Json& value) {
  return value.is_null() ? std::nullopt : std::optional(value.get<int>());
}

float scalar(const Json& value) { return tensor(value).item(); }

TensorStats stats_of(const Json& json) {
  return {.min = real(json.at("min")),
          .max = real(json.at("max")),
          .avg_min = real(json.at("avg_min")),
          .avg_max = real(json.at("avg_max")),
          .mean = real(json.at("mean")),
          .std = real(json.at("std")),
          .b = real(json.at("b"))};
}

QuantSettings settings_of(const Json& in) {
  QuantSettings settings{.bits = in.at("num_bits"),
                         .mode = test::mode_named(in.at("mode")),
                         .clip = test::clip_named(in.at("clip")),
                         .half_range = in.at("half_range"),
                         .per_channel = in.value("per_channel", false)};
  if (!in.at("num_stds").is_null()) settings.n_stds = number(in.at("num_stds"));
  if (!in.at("scale_approx_mult_bits").is_null())
    settings.scale_approx_mult_bits = in.at("scale_approx_mult_bits").get<int>();
  return settings;
}

// A weight in PyTorch's layout with its output channels last.
Tensor weight(const Json& value) {
  const Tensor t = tensor(value);
  std::vector<int> order;
  for (int i = 1; i < t.rank(); ++i) order.push_back(i);
  order.push_back(0);
  return transpose(t, order);
}

std::vector<ValueRange> per_dim(const Tensor& x, std::optional<int> d) {
  if (!d) return {tensor_min_max(x)};
  return slice_min_max(merged(x, *d), Slices::samples);
}

Tensor column(const std::vector<ValueRange>& ranges, float (*pick)(const ValueRange&)) {
  std::vector<float> values;
  std::ranges::transform(ranges, std::back_inserter(values), pick);
  return Tensor::from({static_cast<int64_t>(values.size())}, values);
}
Tensor flat(const Json& value) {
  const Tensor t = tensor(value);
  return t.reshaped({t.numel()});
}

// Means and standard deviations are reductions whose last bits depend on the order: a zero point may be one off where
// scale * min, from which it was rounded, lies on a tie.
bool is_zero_point(float actual, float expected, float unrounded) {
  const float distance_to_tie = std::fabs(unrounded - std::floor(unrounded) - 0.5f);
  return actual == expected || (std::fabs(actual - expected) == 1 && distance_to_tie < 1e-4f);
}

}  // namespace

TEST_CASE("golden 01c: reductions of a tensor") {
  for_each_case("01c_tensor_reductions", [](const Json& file, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const std::string fn = c.at("fn");
    const Tensor x = tensor(file.at("tensors").at(in.at("t").get<std::string>()));
    const auto compute = [&]() -> std::vector<ValueRange> {
      if (in.contains("per_dim")) return per_dim(x, dimension(in.at("per_dim")));
      if (in.contains("n_stds")) return {tensor_mean_n_stds(x, number(in.at("n_stds")))};
      const std::optional<int> across = dimension(in.at("across_dim"));
      return {across ? tensor_avg_min_max(merged(x, *across), Slices::samples) : tensor_min_max(x)};
    };
    if (raises(expected)) {
      CHECK_THROWS_AS(compute(), Error);
    } else if (fn.ends_with("max_abs")) {
      CHECK(difference(column(compute(), [](const ValueRange& r) { return r.max_abs(); }),
                       flat(expected.at("value"))) == "");
    } else {
      CHECK(difference(column(compute(), [](const ValueRange& r) { return r.min; }), flat(expected.at("min"))) == "");
      CHECK(difference(column(compute(), [](const ValueRange& r) { return r.max; }), flat(expected.at("max"))) == "");
    }
    return kCompared;
  });
}

TEST_CASE("golden 01d: ACIQ clipping values of tensors and statistics") {
  for_each_case("01d_aciq", [](const Json& file, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const QuantSettings settings{.bits = in.at("num_bits"),
                                 .mode = c.at("fn") == "AciqSymmetricClipper" ? LinearQuantMode::symmetric
                                                                              : LinearQuantMode::asymmetric_unsigned,
                                 .clip = in.at("clip_type") == "Gauss" ? ClipMode::gauss : ClipMode::laplace,
                                 .half_range = in.value("half_range", false)};
    const auto compute = [&] {
      if (in.contains("stats"))
        return range_from_stats(stats_of(file.at("stats").at(in.at("stats").get<std::string>())), settings);
      const Tensor x = tensor(file.at("tensors").at(in.at("t").get<std::string>()));
      Moments moments = tensor_moments(x);
      if (in.contains("across_dim"))
        if (const auto d = dimension(in.at("across_dim")))
          moments.low = tensor_avg_min_max(merged(x, *d), Slices::samples).min;
      return aciq_range(moments, settings);
    };
    if (raises(expected)) {
      CHECK_THROWS_AS(compute(), Error);
    } else {
      const ValueRange range = compute();
      CHECK(difference(range.min, scalar(expected.at("min"))) == "");
      CHECK(difference(range.max, scalar(expected.at("max"))) == "");
    }
    return kCompared;
  });
}

TEST_CASE("golden 02a: scale and zero point of a tensor in every mode and clip mode") {
  for_each_case("02a_params_from_tensor", [](const Json& file, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const QuantSettings settings = settings_of(in);
    const Tensor x = weight(file.at("tensors").at(in.at("tensor").get<std::string>()));
    if (raises(expected)) {
      CHECK_THROWS_AS(grid_from_tensor(x, settings, Slices::output_channels), Error);
      return kCompared;
    }
    const ChannelGrid params = grid_from_tensor(x, settings, Slices::output_channels);
    const std::vector<ValueRange> ranges = range_from_tensor(x, settings, Slices::output_channels);
    const Tensor scale = flat(expected.at("scale")), zero_point = flat(expected.at("zero_point"));
    REQUIRE(params.scale.size() == scale.data().size());
    CHECK(difference(Tensor::from(scale.shape(), params.scale), scale) == "");
    for (size_t i = 0; i < ranges.size(); ++i)
      CHECK(is_zero_point(params.zero_point[i], zero_point.data()[i], params.scale[i] * ranges[i].min));
    return kCompared;
  });
}

TEST_CASE("golden 02b: scale and zero point of calibration statistics") {
  for_each_case("02b_params_from_stats", [](const Json& file, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const TensorStats stats = stats_of(file.at("stats").at(in.at("stats").get<std::string>()));
    const QuantSettings settings = settings_of(in);
    if (raises(expected)) {
      CHECK_THROWS_AS(grid_from_stats(stats, settings), Error);
    } else {
      const Grid grid = grid_from_stats(stats, settings);
      CHECK(difference(grid.scale, scalar(expected.at("scale"))) == "");
      CHECK(is_zero_point(grid.zero_point, scalar(expected.at("zero_point")),
                          grid.scale * range_from_stats(stats, settings).min));
    }
    return kCompared;
  });
}

TEST_CASE("averages are over samples for activations and over output channels for weights") {
  const Tensor x = Tensor::from({2, 3}, std::vector<float>{-1, 2, 3, -4, 5, 10});
  const ValueRange samples = tensor_avg_min_max(x, Slices::samples);
  CHECK(samples.min == -2.5f);
  CHECK(samples.max == 6.5f);
  const ValueRange channels = tensor_avg_min_max(x, Slices::output_channels);
  CHECK(channels.min == Approx(1.0 / 3));
  CHECK(channels.max == Approx(14.0 / 3));
}

TEST_CASE("clipping that cannot be computed is an error") {
  const Tensor x = test::normal_tensor({4, 8}, 1);
  const auto range = [&](const QuantSettings& settings) {
    return range_from_tensor(x, settings, Slices::output_channels);
  };
  CHECK_THROWS_WITH(range({.clip = ClipMode::n_std}), Contains("clip_n_stds"));
  CHECK_THROWS_WITH(range({.clip = ClipMode::n_std, .n_stds = -1.0f}), Contains("more than 0"));
  CHECK_THROWS_WITH(range({.clip = ClipMode::n_std, .n_stds = 2.0f, .per_channel = true}), Contains("per-channel"));
  CHECK_THROWS_WITH(range({.bits = 9, .clip = ClipMode::gauss}), Contains("tabulated for 1 to 8 bits, not for 9"));
  CHECK_THROWS_WITH(range({.bits = 0, .clip = ClipMode::gauss}), Contains("tabulated"));
  CHECK_THROWS_WITH(range_from_tensor(Tensor::zeros({8}), {.per_channel = true}, Slices::output_channels),
                    Contains("2 or 4 dimensions"));
  CHECK_THROWS_WITH(range_from_stats(TensorStats{}, {.per_channel = true}), Contains("per tensor"));
  CHECK_THROWS_WITH(tensor_min_max(Tensor::zeros({0, 3})), Contains("empty"));
}

TEST_CASE("reductions over many chunks equal those over the whole") {
  const Tensor x = test::normal_tensor({200003}, 2);
  double sum = 0;
  for (const float v : x.data()) sum += v;
  const double mean = sum / 200003;
  double square = 0, absolute = 0;
  for (const float v : x.data()) {
    square += (v - mean) * (v - mean);
    absolute += std::abs(v - mean);
  }
  const Moments moments = tensor_moments(x);
  CHECK(moments.mean == Approx(mean).epsilon(1e-6));
  CHECK(moments.std == Approx(std::sqrt(square / 200002)).epsilon(1e-9));
  CHECK(moments.b == Approx(absolute / 200003).epsilon(1e-9));
  CHECK(moments.low == *std::ranges::min_element(x.data()));
}
