// The two conventions of quantized arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace qgrad {

// How real values become integers and sums become outputs, each in float32, half to even:
//   onnx       q = round(x / step) - zero_point with step = 1 / scale; sums are multiplied by
//              (step_x * step_w) / step_y; other layers compute on real values, (q + zero_point) * step, in
//              float. What programs and ONNX files do.
//   distiller  q = round(scale * x - zero_point); sums are multiplied by scale_y / (scale_x * scale_w). In simulation
//              alone, for parity with Distiller's numbers.
enum class Arithmetic : uint8_t { distiller, onnx };
std::vector<std::pair<std::string, Arithmetic>> enum_names(Arithmetic*);  // "distiller", "onnx"

}  // namespace qgrad
