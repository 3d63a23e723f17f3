// Reproducible test inputs, and bit patterns to compare results by.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "core/random.h"
#include "core/tensor.h"

namespace qgrad::test {

inline std::vector<float> normal_values(size_t n, uint64_t seed, float stddev = 1) {
  RandomStream random(seed, "test values");
  std::vector<float> values(n);
  for (float& v : values) v = stddev * random.normal();
  return values;
}

inline std::vector<float> uniform_values(size_t n, uint64_t seed, float low, float high) {
  RandomStream random(seed, "test values");
  std::vector<float> values(n);
  for (float& v : values) v = low + (high - low) * random.uniform();
  return values;
}

inline Tensor normal_tensor(const Shape& shape, uint64_t seed, float stddev = 1) {
  return Tensor::from(shape, normal_values(static_cast<size_t>(shape.numel()), seed, stddev));
}

inline Tensor uniform_tensor(const Shape& shape, uint64_t seed, float low, float high) {
  return Tensor::from(shape, uniform_values(static_cast<size_t>(shape.numel()), seed, low, high));
}

// Integers from -4 to 4, for results that must be exact in any order of summation.
inline std::vector<float> integer_values(size_t n, uint64_t seed) {
  std::vector<float> values = uniform_values(n, seed, -4.5f, 4.5f);
  for (float& v : values) v = std::nearbyint(v);
  return values;
}

inline Tensor integer_tensor(const Shape& shape, uint64_t seed) {
  return Tensor::from(shape, integer_values(static_cast<size_t>(shape.numel()), seed));
}

// Normal values pushed away from zero by `gap`, for functions with a kink there.
inline Tensor kink_free_tensor(const Shape& shape, uint64_t seed, float gap = 0.1f) {
  Tensor t = normal_tensor(shape, seed);
  for (float& v : t.mutable_data()) v += std::copysign(gap, v);
  return t;
}

inline std::vector<float> values(const Tensor& t) { return {t.data().begin(), t.data().end()}; }

// Equal bit patterns: distinguishes -0 from 0 and lets NaN equal itself.
inline std::vector<uint32_t> bits(std::span<const float> values) {
  std::vector<uint32_t> patterns;
  patterns.reserve(values.size());
  for (const float v : values) patterns.push_back(std::bit_cast<uint32_t>(v));
  return patterns;
}
inline std::vector<uint32_t> bits(const Tensor& t) { return bits(t.data()); }

}  // namespace qgrad::test
