// exp, log, sigmoid and tanh of one float, as straight-line arithmetic: a loop over them vectorises, and every
// instruction set computes the same bits. Coefficients from the Cephes library (S. Moshier), single precision.
#pragma once

#include <stdint.h>

namespace qgrad {
namespace {

// A NaN passes through.
inline float clamp_of(float x, float low, float high) {
  const float raised = x < low ? low : x;
  return raised > high ? high : raised;
}

inline float float_of(int32_t bits) { return __builtin_bit_cast(float, bits); }
inline int32_t bits_of(float x) { return __builtin_bit_cast(int32_t, x); }

// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and a polynomial for e^r.
inline float exp_of(float x) {
  const float inside = clamp_of(x, -104.0f, 89.0f);  // beyond: exactly 0 and infinity
  const float magic = 12582912.0f;                   // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
  const float shifted = inside * 1.44269504f + magic;
  const float n = shifted - magic;
  const float r = (inside - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * (r * r) + r) + 1.0f;
  // 2^n in two factors, as 2^n itself may be no normal number.
  const int32_t exponent = bits_of(shifted) - bits_of(magic), half = exponent >> 1;
  return (p * float_of((half + 127) << 23)) * float_of((exponent - half + 127) << 23);
}

// log(x) = log(m) + e ln 2 with x = m 2^e, sqrt(1/2) <= m < sqrt(2), and a polynomial for log(m).
inline float log_of(float x) {
  const bool tiny = x < 1.17549435e-38f;  // subnormal numbers are scaled up first
  const int32_t bits = bits_of(tiny ? x * 8388608.0f : x);
  // Moves the exponent so that the mantissa ends up between sqrt(1/2) and sqrt(2).
  const auto above = static_cast<int32_t>(static_cast<uint32_t>(bits) - 0x3f3504f3u);  // wraps for negative numbers
  const int32_t exponent = above >> 23;
  const float m = float_of((above & 0x007fffff) + 0x3f3504f3) - 1.0f;
  const float e = static_cast<float>(exponent) - (tiny ? 23.0f : 0.0f);
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m + -1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m + -1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m + -1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m + -2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  const float tail = (p * m * z + e * -2.12194440e-4f) - 0.5f * z;
  const float result = (m + tail) + e * 0.693359375f;
  const float infinity = __builtin_inff();
  const float at_ends = x == 0.0f ? -infinity : x > 0.0f ? infinity : __builtin_nanf("");
  return ((x > 0.0f) & (x < infinity)) ? result : at_ends;
}

// 1 / (1 + e^-x), computed with e^-|x| so that small results keep their digits.
inline float sigmoid_of(float x) {
  const float e = exp_of(-__builtin_fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

// An odd polynomial near zero, 1 - 2 / (e^2|x| + 1) elsewhere.
inline float tanh_of(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z + -5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z + -3.33332819422e-1f;
  const float near_zero = p * z * magnitude + magnitude;
  const float far = 1.0f - 2.0f / (exp_of(2.0f * magnitude) + 1.0f);
  return __builtin_copysignf(magnitude < 0.625f ? near_zero : far, x);
}

}  // namespace
}  // namespace qgrad
