// Loops of integer layers, written once and compiled per instruction set: the including file names QGRAD_INTEGER.
namespace qgrad {
namespace {

inline float clamped(float x, float low, float high) {
  const float raised = x < low ? low : x;
  return raised > high ? high : raised;
}

inline float to_integer(float x, const IntegerGrid& g) {
  return clamped(__builtin_nearbyintf(g.scale * x / g.divisor - g.zero_point), g.qmin, g.qmax) + g.zero_point;
}

inline float to_value(float integer, const IntegerGrid& g) { return integer * g.divisor / g.scale; }

inline float to_output(float accumulator, float rescale, float high, const Requantization& to) {
  const IntegerGrid& g = to.grid;
  const float scaled = rescale * clamped(accumulator, to.low, high) / to.divisor - g.zero_point;
  return to_value(clamped(__builtin_nearbyintf(scaled), g.qmin, g.qmax) + g.zero_point, g);
}

void to_integers(const float* x, float* y, size_t n, const IntegerGrid& grid) {
  const IntegerGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = to_integer(x[i], g);
}

void to_integers_rescaled(const float* x, float* y, size_t n, const IntegerGrid& grid, float rescale, float low,
                          float high) {
  const IntegerGrid g = grid;
  for (size_t i = 0; i < n; ++i) y[i] = clamped(__builtin_nearbyintf(rescale * to_integer(x[i], g)), low, high);
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
#pragma GCC ivdep
    for (size_t c = 0; c < channels; ++c) y[c] = to_output(accumulator[c], rescale[c], high[c], r);
  }
}

}  // namespace

IntegerKernels QGRAD_INTEGER() { return {to_integers, to_integers_rescaled, fake_quant, requantize, requantize_channels}; }

}  // namespace qgrad
