// Finding the grid, and the nearest level.
#include "quant/export/levels.h"

#include <algorithm>
#include <cmath>

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

Grid grid_before(std::span<const float> levels) {
  const float largest = std::max(-levels.front(), levels.back());
  if (levels.front() < 0) return {.scale = 127 / largest, .zero_point = 0, .qmin = -127, .qmax = 127};
  return {.scale = 255 / largest, .zero_point = 0, .qmin = 0, .qmax = 255};
}

Grid half_steps(const Grid& grid) { return {.scale = 2 * grid.scale, .zero_point = 0, .qmin = 0, .qmax = 255}; }

NearestLevel::NearestLevel(ModulePtr function, float offset, std::vector<float> levels)
    : function_(child("", std::move(function))), offset_(offset), levels_(std::move(levels)) {}

Effect NearestLevel::effect() const {
  return {.kind = Effect::Kind::applies, .gives = {levels_.front(), levels_.back()}};
}

Tensor NearestLevel::forward(const Tensor& x) {
  const Tensor values = function_(add_scalar(x, -offset_));
  Tensor y = Tensor::empty(values.shape());
  for (size_t i = 0; i < values.data().size(); ++i) {
    const float value = values.data()[i];
    const auto above = std::ranges::lower_bound(levels_, value);
    const auto below = above == levels_.begin() ? above : above - 1;
    const bool nearer_below = above == levels_.end() || value - *below <= *above - value;
    y.mutable_data()[i] = nearer_below ? *below : *above;
  }
  return without_gradient("nearest_level", std::move(y), values);
}

}  // namespace qgrad::deploy
