// How a layer of the simulation brings its sums to its output's grid, in bytes.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/narrow.h"
#include "engine/program.h"
#include "quant/simulation/wrapper.h"

namespace qgrad::deploy {

// A grid that bytes can have. Throws where it has too many integers, or none for zero.
inline Grid byte_grid(const Grid& grid) {
  for (const float x : {grid.zero_point, grid.qmin, grid.qmax}) narrow<int32_t>(x, "zero point or integer");
  check(grid.lowest() <= 0 && grid.highest() >= 0, "its integers {} to {} with zero point {} have none for zero",
        grid.qmin, grid.qmax, grid.zero_point);
  check(grid.qmax - grid.qmin <= 255, "its integers {} to {} need more than 8 bits", grid.qmin, grid.qmax);
  return grid;
}

inline uint8_t byte_of(float steps, const Grid& grid) { return narrow<uint8_t>(steps - grid.lowest(), "byte"); }

// The real values of all bytes of a grid, [1, bytes].
inline Tensor values_of(const Grid& grid) {
  Tensor values = Tensor::empty({1, static_cast<int64_t>(grid.qmax - grid.qmin) + 1});
  const std::span<float> x = values.mutable_data();
  for (size_t b = 0; b < x.size(); ++b) x[b] = (static_cast<float>(b) + grid.lowest()) * grid.step();
  return values;
}

// What becomes of every byte of a grid whose values become these steps of another one; the table's unused end repeats
// the last of them.
inline std::array<uint8_t, 256> table_of(std::span<const float> steps, const Grid& grid) {
  std::array<uint8_t, 256> table;
  for (size_t i = 0; i < table.size(); ++i) table[i] = byte_of(steps[std::min(i, steps.size() - 1)], grid);
  return table;
}

// Rounding is monotone, so that limits of the sums (of the accumulator's bits, of a ReLU) are limits of the result.
struct Requantizer {
  Requantizer(const RangeLinearQuantWrapper& wrapper, bool limited_accumulator)
      : grid(byte_grid(wrapper.output_grid().value())), highest(grid.highest()) {
    const LayerQuantization& quantization = wrapper.quantization();
    if (quantization.relu_cap) highest = std::min(highest, std::nearbyint(*quantization.relu_cap / grid.step()));
    if (limited_accumulator) sums = quantized_range(quantization.bits_accum, LinearQuantMode::symmetric);
    if (quantization.relu) sums.qmin = std::max(sums.qmin, 0.0f);
  }

  // The output's steps from zero for a real value, and the byte for them.
  float steps_of(float x) const { return rounded(limited(x) / grid.step()); }
  uint8_t byte(float steps) const { return byte_of(steps, grid); }
  // Adds the limits of one channel whose sums are multiplied by `rescale`, or of all.
  void add_limits(Op& op, float rescale) const {
    op.low.push_back(byte(rounded(rescale * sums.qmin)));
    op.high.push_back(byte(rounded(rescale * sums.qmax)));
  }

  Grid grid;

 private:
  float limited(float x) const { return std::min(std::max(x, sums.qmin), sums.qmax); }
  float rounded(float steps) const { return std::clamp(std::nearbyint(steps), grid.lowest(), highest); }

  float highest;
  QuantizedRange sums{-std::numeric_limits<float>::max(), std::numeric_limits<float>::max()};
};

}  // namespace qgrad::deploy
