// Resizing of images, as ONNX's operator Resize defines it: first the rows, then the columns.
#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.h"
#include "core/ops.h"
#include "core/ops/linear_map.h"

namespace qgrad {
namespace {

struct Axis {
  int64_t size, result;  // numbers before and after
  double scale;          // between the coordinates
  double length;         // of the result before it was rounded down
};

// Where result i lies among the numbers of an axis.
double place_of(int64_t i, const Axis& axis, ResizeCoordinates coordinates) {
  const auto at = static_cast<double>(i), size = static_cast<double>(axis.size);
  switch (coordinates) {
    case ResizeCoordinates::asymmetric:
      return at / axis.scale;
    case ResizeCoordinates::align_corners:
      return axis.result == 1 ? 0 : at * (size - 1) / (axis.length - 1);
    case ResizeCoordinates::pytorch_half_pixel:
      return axis.result == 1 ? 0 : (at + 0.5) / axis.scale - 0.5;
    case ResizeCoordinates::half_pixel_symmetric:
      return size / 2 * (1 - static_cast<double>(axis.result) / axis.length) + (at + 0.5) / axis.scale - 0.5;
    case ResizeCoordinates::half_pixel:
      return (at + 0.5) / axis.scale - 0.5;
  }
  fail("resize: unknown coordinates");
}

double rounded_place(double place, ResizeRounding rounding) {
  switch (rounding) {
    case ResizeRounding::floor:
      return std::floor(place);
    case ResizeRounding::ceil:
      return std::ceil(place);
    case ResizeRounding::round_prefer_floor:
      return std::ceil(place - 0.5);
    case ResizeRounding::round_prefer_ceil:
      return std::floor(place + 0.5);
  }
  fail("resize: unknown rounding");
}

// Factors of the four numbers around a place that is `t` behind the second of them: Keys 1981, with a for -1/2.
std::array<double, 4> cubic_factors(double t, double a) {
  const auto far = [a](double d) { return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a; };
  const auto near = [a](double d) { return ((a + 2) * d - (a + 3)) * d * d + 1; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

// One row of the map: numbers beyond the ends are those at the ends.
void add_row(LinearMap& map, double place, const ResizeOptions& o) {
  const auto inside = [&](double at) {
    return static_cast<int64_t>(std::clamp(at, 0.0, static_cast<double>(map.columns - 1)));
  };
  if (o.mode == ResizeMode::nearest) return map.choose(inside(rounded_place(place, o.rounding)));
  const double before = std::floor(place), t = place - before;
  if (t == 0) return map.choose(inside(before));
  if (o.mode == ResizeMode::linear) {
    map.add(inside(before), static_cast<float>(1 - t));
    map.add(inside(before + 1), static_cast<float>(t));
  } else {
    const std::array<double, 4> factors = cubic_factors(t, double{o.cubic_coefficient});
    for (int i = 0; i < 4; ++i) map.add(inside(before - 1 + i), static_cast<float>(factors[static_cast<size_t>(i)]));
  }
  map.end_row();
}

LinearMap axis_map(const Shape& images, int dim, std::optional<int64_t> size, std::optional<float> scale,
                   const ResizeOptions& o) {
  const int64_t n = images[dim];
  check(!scale || (*scale > 0 && std::isfinite(*scale)), "resize: expected scales above 0, got {}", *scale);
  constexpr double kMost = 1 << 24;
  const double length = scale ? static_cast<double>(static_cast<float>(n) * *scale) : static_cast<double>(*size);
  const double result = size ? static_cast<double>(*size) : std::floor(length);
  check(result >= 1 && result <= kMost && n >= 1, "resize: dimension {} of {} can not become {}", dim, images, result);
  const Axis axis{n, static_cast<int64_t>(result), scale ? double{*scale} : result / static_cast<double>(n), length};
  LinearMap map(n);
  for (int64_t i = 0; i < axis.result; ++i) add_row(map, place_of(i, axis, o.coordinates), o);
  return map;
}

}  // namespace

AxisMaps resize_maps(const Shape& images, const ResizeOptions& o) {
  check(images.rank() == 4, "resize: expected images [N,H,W,C], got {}", images);
  check((o.height && o.width) || (o.scale_h && o.scale_w), "resize: expected a size, or scales");
  return {axis_map(images, 1, o.height, o.scale_h, o), axis_map(images, 2, o.width, o.scale_w, o)};
}

Tensor resize(const Tensor& x, const ResizeOptions& o) { return mapped("resize", x, resize_maps(x.shape(), o)); }

}  // namespace qgrad
