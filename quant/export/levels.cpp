// Finding the grid, and the level.
#include "quant/export/levels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops.h"
#include "quant/simulation/passes.h"

namespace qgrad::deploy {
namespace {

constexpr float kNearInteger = 1e-3f;  // values are floats

std::vector<float> magnitudes_of(std::span<const float> values) {
  std::vector<float> magnitudes;
  for (const float value : values) magnitudes.push_back(std::fabs(value));
  std::ranges::sort(magnitudes);
  magnitudes.erase(std::unique(magnitudes.begin(), magnitudes.end()), magnitudes.end());
  return magnitudes;
}

}  // namespace

std::optional<float> common_scale(std::span<const float> values, int most) {
  const std::vector<float> magnitudes = magnitudes_of(values);
  if (magnitudes.empty() || magnitudes.back() == 0) return 1.0f;
  for (int largest = 1; largest <= most; ++largest) {
    const float scale = static_cast<float>(largest) / magnitudes.back();
    const auto is_integer = [=](float x) { return std::fabs(x * scale - std::nearbyint(x * scale)) < kNearInteger; };
    if (std::isfinite(scale) && std::ranges::all_of(magnitudes, is_integer)) return scale;
  }
  return std::nullopt;
}

Grid widened_to_bits(const Grid& grid) {
  Grid wide = grid;
  wide.qmax = std::exp2(std::ceil(std::log2(grid.qmax + 1))) - 1;
  if (grid.qmin < 0) wide.qmin = -wide.qmax;
  return wide;
}

LookupGrid lookup_grid(const Levels& levels) {
  const float reach = std::max(std::fabs(levels.thresholds.front()), std::fabs(levels.thresholds.back()));
  Grid grid{.zero_point = 0, .qmin = 0, .qmax = 255};
  if (levels.values.front() < 0) grid = {.zero_point = 0, .qmin = -127, .qmax = 127};
  // From half the integers on, in quarters of one.
  double best = std::numeric_limits<double>::infinity();
  for (double integers = grid.qmax - 1; integers >= grid.qmax / 2; integers -= 0.25) {
    double farthest = 0;
    for (const float threshold : levels.thresholds) {
      const double at = double{threshold} / double{reach} * integers;
      farthest = std::max(farthest, std::fabs(at - std::floor(at) - 0.5) / integers);
    }
    if (farthest >= best) continue;
    best = farthest;
    grid.scale = static_cast<float>(integers / reach);
  }
  return {grid, 0};
}

LookupGrid lookup_grid(const Levels& levels, const Grid& of_levels) {
  const Grid halves{.scale = 2 * of_levels.scale, .zero_point = 0, .qmin = 0, .qmax = 255};
  const auto is_integer = [&](float x) {
    return std::fabs(x * halves.scale - std::nearbyint(x * halves.scale)) < kNearInteger;
  };
  if (levels.values.back() > halves.qmax * halves.step() || !std::ranges::all_of(levels.thresholds, is_integer))
    return lookup_grid(levels);
  return {halves, halves.step() / 2};
}

LevelLookup::LevelLookup(ModulePtr function, float offset, Levels levels)
    : function_(child("", std::move(function))), offset_(offset), levels_(std::move(levels)) {}

Effect LevelLookup::effect() const {
  return {.kind = Effect::Kind::applies, .gives = {levels_.values.front(), levels_.values.back()}};
}

Tensor LevelLookup::forward(const Tensor& x) {
  const Tensor values = function_(add_scalar(x, -offset_));
  return without_gradient("level_lookup", on_levels(values, levels_), values);
}

}  // namespace qgrad::deploy
