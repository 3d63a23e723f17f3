// How numbers sit on integers.
#pragma once

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace qgrad {

// Which integers there are; all of them unless it says otherwise.
struct QuantizedRange {
  float qmin = -std::numeric_limits<float>::infinity(), qmax = std::numeric_limits<float>::infinity();
};

// x = (q + zero_point) / scale, or (q + zero_point) * step() where ONNX's arithmetic counts, for the integers q from
// qmin to qmax. All four are floats, since simulations compute in them; zero_point, qmin and qmax are whole.
struct Grid {
  float scale = 1, zero_point = 0;
  float qmin = 0, qmax = 0;

  float step() const { return 1.0f / scale; }
  // The ends, in steps from zero.
  float lowest() const { return qmin + zero_point; }
  float highest() const { return qmax + zero_point; }
  float largest() const { return -lowest() > highest() ? -lowest() : highest(); }
  bool operator==(const Grid&) const = default;
};

// The same with a scale and a zero point for each channel, the last dimension, or with one of both for all numbers.
// Zero points may be halves here, of weights that have as many levels above zero as below.
struct ChannelGrid {
  std::vector<float> scale{1}, zero_point{0};
  QuantizedRange integers;

  ChannelGrid() = default;
  ChannelGrid(const Grid& grid) : ChannelGrid({grid.scale}, {grid.zero_point}, {grid.qmin, grid.qmax}) {}
  ChannelGrid(std::vector<float> scales, std::vector<float> zero_points, QuantizedRange range = {})
      : scale(std::move(scales)), zero_point(std::move(zero_points)), integers(range) {}

  bool per_channel() const { return scale.size() > 1; }
  Grid channel(size_t c) const { return {scale[c], zero_point[c], integers.qmin, integers.qmax}; }
  // Times which x is an integer: twice the scale where a zero point is a half.
  std::vector<float> integer_scale() const {
    std::vector<float> all = scale;
    for (size_t c = 0; c < all.size(); ++c)
      if (zero_point[c] - std::floor(zero_point[c]) == 0.5f) all[c] *= 2;
    return all;
  }
};

}  // namespace qgrad
