// Common divisors of weights.
#include "quant/simulation/integer_maps.h"

#include <algorithm>
#include <cmath>

namespace qgrad {
namespace {

// Of weights that add up to 1, for each axis: 255 * 256 * 256 < 2^24.
constexpr double kMostDivisor = 256;
// How far multiples of weights may be from integers: weights are floats, and come from coordinates in floats.
constexpr double kNearInteger = 1e-3;

// Of a row, without their signs.
double largest_row(const LinearMap& map) {
  double largest = 1;
  for (size_t row = 0; row + 1 < map.first.size(); ++row) {
    double sum = 0;
    for (int64_t t = map.first[row]; t < map.first[row + 1]; ++t)
      sum += std::fabs(double{map.weight[static_cast<size_t>(t)]});
    largest = std::max(largest, sum);
  }
  return largest;
}

bool are_fractions(const std::vector<float>& weights, double divisor) {
  return std::ranges::all_of(weights, [=](float weight) {
    const double scaled = double{weight} * divisor;
    return std::fabs(scaled - std::nearbyint(scaled)) < kNearInteger;
  });
}

double divisor_of(const LinearMap& map) {
  const double most = std::max(1.0, std::floor(kMostDivisor / largest_row(map) + kNearInteger));
  double divisor = 1;
  while (divisor < most && !are_fractions(map.weight, divisor)) ++divisor;
  return divisor;
}

LinearMap times(LinearMap map, double divisor) {
  for (size_t row = 0; row + 1 < map.first.size(); ++row) {
    double sum = 0, rounded = 0;
    for (int64_t t = map.first[row]; t < map.first[row + 1]; ++t) {
      float& weight = map.weight[static_cast<size_t>(t)];
      sum += double{weight} * divisor;
      weight = static_cast<float>(std::nearbyint(sum) - rounded);
      rounded = std::nearbyint(sum);
    }
  }
  return map;
}

}  // namespace

IntegerMaps integer_maps(const AxisMaps& real) {
  const double rows = divisor_of(real.rows), columns = divisor_of(real.columns);
  return {{times(real.rows, rows), times(real.columns, columns)}, 1 / static_cast<float>(rows * columns)};
}

}  // namespace qgrad
