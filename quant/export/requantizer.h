// Grids of programs, and how a layer of the simulation brings its sums to its output's grid.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/narrow.h"
#include "engine/program.h"
#include "quant/simulation/wrapper.h"

namespace qgrad::deploy {

inline Grid grid_of(const QuantMetadata& m) {
  check(m.qmax - m.qmin <= 255, "its integers {} to {} need more than 8 bits", m.qmin, m.qmax);
  return {m.scale, narrow<int32_t>(m.zero_point, "zero point"), narrow<int32_t>(m.qmin, "smallest integer"),
          narrow<int32_t>(m.qmax, "largest integer")};
}

inline QuantMetadata metadata_of(const Grid& g) {
  return {g.scale, static_cast<float>(g.zero_point), static_cast<float>(g.qmin), static_cast<float>(g.qmax)};
}

// The real values of all bytes of a grid, [1, bytes].
inline Tensor values_of(const Grid& g, Rounding rounding) {
  const IntegerGrid grid = integer_grid(metadata_of(g), rounding);
  Tensor values = Tensor::empty({1, g.qmax - g.qmin + 1});
  const std::span<float> x = values.mutable_data();
  for (size_t b = 0; b < x.size(); ++b)
    x[b] = static_cast<float>(static_cast<int32_t>(b) - g.origin()) * grid.divisor / grid.scale;
  return values;
}

// The bytes that integers on a grid are stored as; the table's unused end repeats the last one.
inline std::array<uint8_t, 256> table_of(std::span<const float> integers, const Grid& g) {
  std::array<uint8_t, 256> table;
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = narrow<uint8_t>(integers[std::min(i, integers.size() - 1)] - static_cast<float>(g.qmin), "table's byte");
  return table;
}

// How a wrapper brings its sums to the output's grid. Rounding is monotone, so that limits of the sums (of the
// accumulator's bits, of a ReLU) are limits of the result.
struct Requantizer {
  Requantizer(const RangeLinearQuantWrapper& wrapper, bool limited_accumulator)
      : quantization(wrapper.quantization()),
        grid(grid_of(wrapper.output_metadata().value())),
        rounded(integer_grid(metadata_of(grid), quantization.rounding)) {
    if (is_onnx() && quantization.relu_cap)
      rounded.qmax = std::min(rounded.qmax, std::nearbyint(*quantization.relu_cap / rounded.divisor));
    const float largest = std::numeric_limits<float>::max();
    range = limited_accumulator ? quantized_range(quantization.bits_accum, LinearQuantMode::symmetric)
                                : QuantizedRange{-largest, largest};
  }

  // The output's integer for a sum, or for a real value, whose scale is 1. exact: the product is not rounded.
  float operator()(float sum, float rescale, bool exact = false) const {
    const float q = exact
                        ? static_cast<float>(std::nearbyint(double{rescale} * double{sum} - double{rounded.zero_point}))
                        : std::nearbyint(rescale * sum - rounded.zero_point);
    return std::clamp(q, rounded.qmin, rounded.qmax) - (rounded.qmin - static_cast<float>(grid.qmin));
  }
  float of_real(float x) const {
    x = limited(x, 1);
    return is_onnx() ? (*this)(x / rounded.divisor, 1) : (*this)(x, grid.scale);
  }
  float limited(float sum, float scale) const {
    return std::min(std::max(sum, quantization.relu ? std::max(range.qmin, 0.0f) : range.qmin), highest(scale));
  }
  // Adds the factor and the limits of one channel, or of all.
  void add_to(Op& op, float rescale, float accumulator_scale) const {
    check(!op.fixed_point || is_fixed_point_factor(rescale),
          "its factor {} is out of reach for a multiplier and a shift", rescale);
    op.rescale.push_back(rescale);
    const float infinity = std::numeric_limits<float>::infinity();
    const auto byte = [&](float sum) {
      return narrow<uint8_t>((*this)(sum, rescale, op.fixed_point) - static_cast<float>(grid.qmin), "limit");
    };
    op.low.push_back(byte(limited(-infinity, accumulator_scale)));
    op.high.push_back(byte(highest(accumulator_scale)));
  }
  // For real values, which the engine divides by the output's step under Rounding::onnx.
  void add_real_to(Op& op) const { add_to(op, is_onnx() ? 1.0f : grid.scale, 1); }
  float highest(float accumulator_scale) const {
    const bool capped = quantization.relu_cap && !is_onnx();
    return capped ? std::min(range.qmax, *quantization.relu_cap * accumulator_scale) : range.qmax;
  }
  bool is_onnx() const { return quantization.rounding == Rounding::onnx; }

  const LayerQuantization& quantization;
  Grid grid;
  IntegerGrid rounded;
  QuantizedRange range;
};

}  // namespace qgrad::deploy
