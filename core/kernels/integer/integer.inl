// Loops of integer layers, written once and compiled per instruction set.
#include "core/kernels/integer/integer.h"

#include "core/kernels/functions.h"
#include "core/kernels/lanes.h"

namespace qgrad {
namespace integer_loops {
namespace {

inline float to_integer(float x, const IntegerGrid& g) {
  return clamp_of(__builtin_nearbyintf(g.scale * x / g.divisor - g.zero_point), g.qmin, g.qmax) + g.zero_point;
}

inline float to_value(float integer, const IntegerGrid& g) { return integer * g.divisor / g.scale; }

inline float to_output(float accumulator, float rescale, float high, const Requantization& to) {
  const IntegerGrid& g = to.grid;
  const float limited = clamp_of(accumulator, to.low, high);
  const float rounded = __builtin_nearbyintf(rescale * limited / to.divisor - g.zero_point);
  return to_value(clamp_of(rounded, g.qmin, g.qmax) + g.zero_point, g);
}

void to_integers(const float* x, float* y, size_t n, const IntegerGrid& grid) {
  const IntegerGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = to_integer(x[i], g);
}

void to_integers_rescaled(const float* x, float* y, size_t n, const IntegerGrid& grid, float rescale, float low,
                          float high) {
  const IntegerGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = clamp_of(__builtin_nearbyintf(rescale * to_integer(x[i], g)), low, high);
}

void fake_quant(const float* x, float* y, size_t n, const IntegerGrid& grid) {
  const IntegerGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = to_value(to_integer(x[i], g), g);
}

void requantize(const float* accumulator, float* y, size_t n, float rescale, float high, const Requantization& to) {
  const Requantization r = to;
  for (size_t i = 0; i < n; ++i) y[i] = to_output(accumulator[i], rescale, high, r);
}

void requantize_channels(const float* accumulator, float* y, size_t rows, size_t channels, const float* rescale,
                         const float* high, const Requantization& to) {
  const Requantization r = to;
  for (size_t row = 0; row < rows; ++row, accumulator += channels, y += channels) {
    QGRAD_INDEPENDENT
    for (size_t c = 0; c < channels; ++c) y[c] = to_output(accumulator[c], rescale[c], high[c], r);
  }
}

}  // namespace
}  // namespace integer_loops

IntegerKernels QGRAD_ROW(integer)() {
  using namespace integer_loops;
  return {to_integers, to_integers_rescaled, fake_quant, requantize, requantize_channels};
}

}  // namespace qgrad
