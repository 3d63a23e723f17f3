// Scale, zero point and the three elementwise passes, in Distiller's float32 order of operations.
#include "quant/affine.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Python divides a number by a tensor as reciprocal, then product: two roundings. n / denominator would be one.
float reciprocal_times(float n, float denominator) { return (1.0f / denominator) * n; }

constexpr float kLargestScale = 0x1p126f;  // its step is the smallest normal number

// Of the width of a range, at least 0. Ranges of zeros get scale 1. Ranges so narrow that the scale would be beyond
// float get the largest one whose step is a normal number, and so a wider grid.
float scale_of(float n, float width) {
  const float scale = reciprocal_times(n, width == 0 ? n : width);
  return std::isfinite(scale) ? scale : kLargestScale;
}

// Per side.
float symmetric_levels(int bits, bool restricted) {
  return static_cast<float>(restricted ? std::exp2(bits - 1) - 1 : (std::exp2(bits) - 1) / 2);
}

void check_bits(int bits) { check(bits >= 1 && bits <= 32, "quantization: expected 1 to 32 bits, got {}", bits); }

// Runs one of two kernels over x in parallel: whole(in, out, n) where one scale is for all, channels(in, out, rows)
// where there is one for each number of the last dimension.
template <class Whole, class Channels>
Tensor elementwise(const char* op, const Tensor& x, const ChannelGrid& grid, Whole&& whole, Channels&& channels) {
  check(grid.scale.size() == grid.zero_point.size(), "{}: {} scales but {} zero points", op, grid.scale.size(),
        grid.zero_point.size());
  const auto width = static_cast<int64_t>(grid.scale.size());
  check(width == 1 || (x.rank() > 0 && x.dim(-1) == width),
        "{}: {} scales do not fit the last dimension of a tensor of shape {}", op, width, x.shape());
  return record(op, width == 1 ? map(x, whole) : map_rows(x, width, channels), {x}, [op](const Tensor&, Grads&) {
    fail("{} has no gradient; linear_quantize_ste passes gradients straight through", op);
  });
}

}  // namespace

float ValueRange::max_abs() const { return std::max(std::fabs(min), std::fabs(max)); }

Grid symmetric_grid(int bits, float saturation, bool restricted) {
  check_bits(bits);
  check(saturation >= 0 && std::isfinite(saturation),
        "symmetric quantization: the saturation value must be finite and not negative, got {}", saturation);
  const auto [qmin, qmax] =
      quantized_range(bits, restricted ? LinearQuantMode::symmetric_restricted : LinearQuantMode::symmetric);
  return {scale_of(symmetric_levels(bits, restricted), saturation), 0, qmin, qmax};
}

Grid asymmetric_grid(int bits, float min, float max, const AsymmetricOptions& options) {
  check_bits(bits);
  check(std::isfinite(min) && std::isfinite(max), "asymmetric quantization: expected a finite range, got {} to {}", min,
        max);
  check(min <= max, "asymmetric quantization: the range's minimum {} is above its maximum {}", min, max);
  const auto n = static_cast<float>(std::exp2(bits) - 1);
  min = std::min(min, 0.0f);
  max = std::max(max, 0.0f);
  const float width = max - min;
  check(std::isfinite(width), "asymmetric quantization: the range {} to {} is wider than a float can tell", min, max);
  const float scale = scale_of(n, width);
  float zero_point = scale * min;
  if (options.integral_zero_point) zero_point = std::nearbyint(zero_point);
  if (options.is_signed) zero_point += static_cast<float>(std::exp2(bits - 1));
  const auto [qmin, qmax] = quantized_range(
      bits, options.is_signed ? LinearQuantMode::asymmetric_signed : LinearQuantMode::asymmetric_unsigned);
  return {scale, zero_point, qmin, qmax};
}

Grid grid_from_range(int bits, LinearQuantMode mode, float min, float max) {
  const bool midrise = mode == LinearQuantMode::symmetric_midrise;
  check(bits > 1 || midrise || !is_symmetric(mode),
        "symmetric quantization needs 2 bits or more, got {}: 1 bit has no level above 0", bits);
  const float largest = ValueRange{min, max}.max_abs();
  Grid grid = is_symmetric(mode)
                  ? symmetric_grid(bits, largest, mode == LinearQuantMode::symmetric_restricted)
                  : asymmetric_grid(bits, min, max, {.is_signed = mode == LinearQuantMode::asymmetric_signed});
  if (midrise) {
    grid.zero_point = 0.5f;
    if (largest == 0) grid.scale = kLargestScale;
  }
  const ValueRange ends = representable_range(grid);
  check(std::isfinite(ends.min) && std::isfinite(ends.max),
        "quantization: the integers for the range {} to {} stand for values beyond float, {} to {}", min, max, ends.min,
        ends.max);
  return grid;
}

ValueRange representable_range(const Grid& grid) { return {grid.lowest() / grid.scale, grid.highest() / grid.scale}; }

ValueRange clipping_range(int bits, LinearQuantMode mode, const Grid& grid) {
  if (!is_symmetric(mode)) return representable_range(grid);
  const float saturation = symmetric_levels(bits, mode == LinearQuantMode::symmetric_restricted) / grid.scale;
  return {-saturation, saturation};
}

Tensor linear_quantize(const Tensor& x, const ChannelGrid& grid) {
  const auto [qmin, qmax] = grid.integers;
  const QuantGrid one{.scale = grid.scale[0], .zero_point = grid.zero_point[0], .qmin = qmin, .qmax = qmax};
  const ChannelQuantGrid each{
      .scale = grid.scale.data(), .zero_point = grid.zero_point.data(), .qmin = qmin, .qmax = qmax};
  return elementwise(
      "linear_quantize", x, grid,
      [&](const float* in, float* out, size_t n) { kernels().quantize.quantize(in, out, n, one); },
      [&](const float* in, float* out, size_t rows) {
        kernels().quantize.quantize_channels(in, out, rows, grid.scale.size(), each);
      });
}

Tensor linear_dequantize(const Tensor& q, const ChannelGrid& grid) {
  return elementwise(
      "linear_dequantize", q, grid,
      [&](const float* in, float* out, size_t n) {
        kernels().quantize.dequantize(in, out, n, grid.scale[0], grid.zero_point[0]);
      },
      [&](const float* in, float* out, size_t rows) {
        kernels().quantize.dequantize_channels(in, out, rows, grid.scale.size(), grid.scale.data(),
                                               grid.zero_point.data());
      });
}

float ScaleApproximation::value() const { return std::ldexp(multiplier, -shift); }

ScaleApproximation approximate_scale(float scale, int multiplier_bits) {
  check(scale > 0 && std::isfinite(scale), "scale approximation: expected a positive scale, got {}", scale);
  check(multiplier_bits >= 1 && multiplier_bits <= 32, "scale approximation: expected 1 to 32 multiplier bits, got {}",
        multiplier_bits);
  const auto largest = static_cast<float>(std::exp2(multiplier_bits) - 1);
  const float ratio = reciprocal_times(largest, scale);
  const int shift =
      static_cast<int>(std::floor(std::isfinite(ratio) ? std::log2(ratio) : std::log2(double{largest} / scale)));
  const float multiplier = std::floor(std::ldexp(scale, shift));
  check(multiplier > 0, "scale approximation: {} multiplier bits leave nothing of {}, expected 2 bits or more",
        multiplier_bits, scale);
  return {multiplier, shift};
}

}  // namespace qgrad
