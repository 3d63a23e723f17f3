// Whole numbers that are rounded up: how many pieces cover a length, and how long they are together.
#pragma once

#include <concepts>
#include <type_traits>

namespace qgrad {

// a / b, of a >= 0 and b > 0.
template <std::integral T>
constexpr T divide_up(T a, std::type_identity_t<T> b) {
  return (a + b - 1) / b;
}

// The least multiple of `unit` that is not below a.
template <std::integral T>
constexpr T round_up(T a, std::type_identity_t<T> unit) {
  return divide_up(a, unit) * unit;
}

}  // namespace qgrad
