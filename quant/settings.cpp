// Names and integer ranges of the quantization modes.
#include "quant/settings.h"

#include <cmath>

#include "core/error.h"

namespace qgrad {

bool is_symmetric(LinearQuantMode mode) {
  return mode == LinearQuantMode::symmetric || mode == LinearQuantMode::symmetric_restricted;
}

std::vector<std::pair<std::string, LinearQuantMode>> enum_names(LinearQuantMode*) {
  return {{"SYMMETRIC", LinearQuantMode::symmetric},
          {"SYMMETRIC_RESTRICTED", LinearQuantMode::symmetric_restricted},
          {"ASYMMETRIC_UNSIGNED", LinearQuantMode::asymmetric_unsigned},
          {"ASYMMETRIC_SIGNED", LinearQuantMode::asymmetric_signed}};
}

std::vector<std::pair<std::string, ClipMode>> enum_names(ClipMode*) {
  return {{"NONE", ClipMode::none},
          {"AVG", ClipMode::avg},
          {"N_STD", ClipMode::n_std},
          {"GAUSS", ClipMode::gauss},
          {"LAPLACE", ClipMode::laplace}};
}

QuantizedRange quantized_range(int bits, LinearQuantMode mode) {
  check(bits >= 1 && bits <= 32, "quantized range: expected 1 to 32 bits, got {}", bits);
  if (mode == LinearQuantMode::asymmetric_unsigned) return {0, static_cast<float>(std::exp2(bits) - 1)};
  const double qmax = std::exp2(bits - 1) - 1;
  return {static_cast<float>(mode == LinearQuantMode::symmetric_restricted ? -qmax : -qmax - 1), static_cast<float>(qmax)};
}

}  // namespace qgrad
