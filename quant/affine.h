// Linear (uniform) quantization arithmetic: scale and zero point from ranges, quantize, dequantize.
//
// Distiller's convention: q = round(scale * x - zero_point), x = (q + zero_point) / scale; the scale multiplies,
// rounding is half to even. All in float32, in the order written, without fused multiply-add (Distiller q_utils.py).
#pragma once

#include "core/grid.h"
#include "core/tensor.h"
#include "quant/settings.h"

namespace qgrad {

// The values a quantized tensor has to represent.
struct ValueRange {
  float min = 0, max = 0;
  float max_abs() const;
};

// scale = (1/saturation) * n as two float32 roundings; zero point 0. saturation 0 gives scale 1; where the scale would
// be beyond float, it is 2^126, whose step is the smallest normal number. Throws when negative or not finite.
// (Distiller symmetric_linear_quantization_params)
Grid symmetric_grid(int bits, float saturation, bool restricted);

// Zero is always in the range; zero_point = round(scale * min), plus 2^(b-1) when signed; scales as above. Throws when
// min > max, and when an end or the width of the range is not finite.
// (Distiller asymmetric_linear_quantization_params)
struct AsymmetricOptions {
  bool is_signed = false;
  bool integral_zero_point = true;
};
Grid asymmetric_grid(int bits, float min, float max, const AsymmetricOptions& options = {});

// Of a range, in a mode; symmetric modes use max(|min|, |max|). SYMMETRIC_MIDRISE has SYMMETRIC's scale, but for a
// range of nothing but zero, whose levels are as near to zero as normal floats can be. Throws also where an integer of
// the mode would stand for a value beyond float.
Grid grid_from_range(int bits, LinearQuantMode mode, float min, float max);
// The reverse: the values that the ends of a grid's integers stand for.
ValueRange representable_range(const Grid& grid);
// The range whose grid this is: for the symmetric modes +-saturation, which with SYMMETRIC lies half a step
// beyond the largest integer.
ValueRange clipping_range(int bits, LinearQuantMode mode, const Grid& grid);

// Elementwise. Neither has a gradient (see ste.h); backward through one throws.
Tensor linear_quantize(const Tensor& x, const ChannelGrid& grid);  // integers, clamped to the grid's
Tensor linear_dequantize(const Tensor& q, const ChannelGrid& grid);

// scale as multiplier / 2^shift: shift = floor(log2((2^bits - 1) / scale)), multiplier = floor(scale * 2^shift). The
// shift is negative for scales above 2^bits - 1. Throws unless the scale is positive and finite, and where one bit
// leaves no multiplier. (Distiller approx_scale_as_mult_and_shift)
struct ScaleApproximation {
  float multiplier = 1;
  int shift = 0;
  float value() const;  // multiplier / 2^shift
};
ScaleApproximation approximate_scale(float scale, int multiplier_bits);

}  // namespace qgrad
