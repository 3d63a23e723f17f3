// Fused multiply-add, exp, log, sigmoid, tanh, erf and powers of one float, as straight-line arithmetic: a loop over
// them vectorises, and every instruction set computes the same bits. Coefficients from the Cephes library (S. Moshier),
// single precision, where nothing else is said.
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

// a b + c, rounded once. Without an instruction for it, the product is exact in double, and the sum is rounded to odd
// there: of two neighbours the one whose last bit is 1, if anything was lost. Rounding that to float is right (Boldo
// and Melquiond, Emulation of a FMA and Correctly Rounded Sums, 2008).
inline float fused_multiply_add(float a, float b, float c) {
#if defined(__FP_FAST_FMAF) || defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  const double product = double{a} * double{b}, sum = product + double{c};
  const double added = sum - product, lost = (product - (sum - added)) + (double{c} - added);
  const auto bits = __builtin_bit_cast(int64_t, sum);
  const bool even = (bits & 1) == 0, inexact = (lost > 0.0) | (lost < 0.0);
  const int64_t towards_lost = (lost > 0.0) == (sum > 0.0) ? 1 : -1;
  return static_cast<float>(__builtin_bit_cast(double, (inexact & even) ? bits + towards_lost : bits));
#endif
}

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

// Two polynomials of N. Juffa (2018, public domain as BSD): x + x p(x^2) near zero, 1 - e^-p(|x|) elsewhere.
inline float erf_of(float x) {
  const float magnitude = __builtin_fabsf(x), z = x * x;
  float p = -5.96761703e-4f;
  p = p * z + 4.99119423e-3f;
  p = p * z + -2.67681349e-2f;
  p = p * z + 1.12819925e-1f;
  p = p * z + -3.76125336e-1f;
  p = p * z + 1.28379166e-1f;
  float q = (-1.72853470e-5f * magnitude + 3.83197126e-4f) * z + (-3.88396438e-3f * magnitude + 2.42546219e-2f);
  q = q * magnitude + -1.06777877e-1f;
  q = q * magnitude + -6.34846687e-1f;
  q = q * magnitude + -1.28717512e-1f;
  q = q * magnitude - magnitude;
  const float far = __builtin_copysignf(1.0f - exp_of(q), x);
  return magnitude > 0.927734375f ? far : p * x + x;
}

// e^x - 1 for x <= 0, with the digits of small results: tanh(x / 2) = (e^x - 1) / (e^x + 1).
inline float expm1_of(float x) { return tanh_of(0.5f * x) * (exp_of(x) + 1.0f); }

// log(1 + x) for x from 0 to 1. What 1 + x loses of x is made up for by the ratio (Kahan).
inline float log1p_of(float x) {
  const float raised = 1.0f + x;
  return raised == 1.0f ? x : log_of(raised) * (x / (raised - 1.0f));
}

// log(|x|) in double of a float that is neither zero nor infinite: 2 artanh((m - 1) / (m + 1)) for the mantissa m.
inline double log_magnitude_of(float x) {
  const int64_t bits = __builtin_bit_cast(int64_t, static_cast<double>(__builtin_fabsf(x)));
  const int64_t above = bits - 0x3fe6a09e667f3bcd;  // moves the exponent as in log_of
  const double m = __builtin_bit_cast(double, (above & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd);
  const double s = (m - 1.0) / (m + 1.0), z = s * s;  // |s| < 0.172
  double p = 1.0 / 19;
  p = p * z + 1.0 / 17;
  p = p * z + 1.0 / 15;
  p = p * z + 1.0 / 13;
  p = p * z + 1.0 / 11;
  p = p * z + 1.0 / 9;
  p = p * z + 1.0 / 7;
  p = p * z + 1.0 / 5;
  p = p * z + 1.0 / 3;
  // The exponent by an unsigned shift, as the low bits of 2^52: AVX2 has neither signed shifts nor conversions of 64
  // bits.
  const uint64_t biased = (static_cast<uint64_t>(above) + (uint64_t{1023} << 52)) >> 52;
  const double exponent = __builtin_bit_cast(double, biased | 0x4330000000000000) - (4503599627370496.0 + 1023.0);
  return exponent * 0.693147180559945309 + 2.0 * (s + s * z * p);
}

// e^x in double for what becomes a float: beyond the limits that is 0 or infinity. As exp_of, with Taylor's series.
inline double exp_in_double(double x) {
  const double raised = x < -110.0 ? -110.0 : x, inside = raised > 90.0 ? 90.0 : raised;
  const double magic = 6755399441055744.0;  // 1.5 * 2^52
  const double shifted = inside * 1.44269504088896341 + magic;
  const double n = shifted - magic;
  const double r = (inside - n * 0.69314718036912382) - n * 1.9082149292705877e-10;
  double p = 1.0 / 479001600;
  p = p * r + 1.0 / 39916800;
  p = p * r + 1.0 / 3628800;
  p = p * r + 1.0 / 362880;
  p = p * r + 1.0 / 40320;
  p = p * r + 1.0 / 5040;
  p = p * r + 1.0 / 720;
  p = p * r + 1.0 / 120;
  p = p * r + 1.0 / 24;
  p = p * r + 1.0 / 6;
  p = p * r + 0.5;
  p = p * r + 1.0;
  p = p * r + 1.0;
  const int64_t exponent = __builtin_bit_cast(int64_t, shifted) - __builtin_bit_cast(int64_t, magic);
  return p * __builtin_bit_cast(double, (exponent + 1023) << 52);
}

// x^y as C's pow answers, negative x with whole y included.
inline float pow_of(float x, float y) {
  const float infinity = __builtin_inff(), magnitude = __builtin_fabsf(x);
  const bool whole = __builtin_floorf(y) == y, small = __builtin_fabsf(y) < 16777216.0f;  // larger ones are even
  const bool odd = whole & small & (static_cast<int32_t>(small ? y : 0.0f) & 1);
  // Ends and 1 are told apart in float: vectors with conditions of two widths are taken apart by GCC.
  const bool at_end = (magnitude == 0.0f) | (magnitude == infinity);
  const double log = log_magnitude_of(at_end ? 2.0f : magnitude);
  const auto between = static_cast<float>(exp_in_double(static_cast<double>(y) * log));
  const float end = (magnitude == 0.0f) == (y < 0.0f) ? infinity : 0.0f;
  const float power = magnitude == 1.0f ? 1.0f : at_end ? end : between;
  const float signed_power = odd ? __builtin_copysignf(power, x) : power;
  const bool is_real = (x >= 0.0f) | ((x < 0.0f) & (whole | (magnitude == infinity)));
  return y == 0.0f ? 1.0f : (is_real & (y == y)) ? signed_power : __builtin_nanf("");
}

}  // namespace
}  // namespace qgrad
