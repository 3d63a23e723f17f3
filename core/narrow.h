// Numbers in narrower types: as they are, or an error that says which number it was.
#pragma once

#include <cmath>
#include <concepts>
#include <limits>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace qgrad {

// Whether the type holds exactly this number. Of real numbers integer types hold the integers in their range.
template <class To, class From>
bool fits(From value) {
  if constexpr (std::floating_point<From> && std::integral<To>) {
    const double bound = std::ldexp(1.0, std::numeric_limits<To>::digits);
    return value == std::trunc(value) && value < bound && value >= (std::is_signed_v<To> ? -bound : 0.0);
  } else if constexpr (std::integral<To>) {
    return std::in_range<To>(value);
  } else {
    return static_cast<From>(static_cast<To>(value)) == value;
  }
}

// `what`: the number's name, for the error.
template <class To, class From>
To narrow(From value, std::string_view what) {
  if constexpr (std::integral<To>)
    check(fits<To>(value), "its {} {} is no integer from {} to {}", what, value, +std::numeric_limits<To>::min(),
          +std::numeric_limits<To>::max());
  else
    check(fits<To>(value), "its {} {} has more digits than a float", what, value);
  return static_cast<To>(value);
}

}  // namespace qgrad
