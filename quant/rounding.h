// The two conventions of quantized arithmetic.
#pragma once

#include <cstdint>

namespace qgrad {

// How real values become integers and sums become outputs, each in float32, half to even:
//   distiller  q = round(scale * x - zero_point); sums are multiplied by scale_y / (scale_x * scale_w)
//   onnx       q = round(x / step) + z with step = 1 / scale and z = -zero_point; sums are multiplied by
//              (step_x * step_w) / step_y; other layers compute on real values, (q - z) * step, in float
enum class Rounding : uint8_t { distiller, onnx };

// What one integer stands for under Rounding::onnx.
inline float step_of(float scale) { return 1.0f / scale; }

}  // namespace qgrad
