// Kernels of the integer engine: tensors are bytes, sums are int32, scales are float32.
//
// A byte b stands for (b - origin) / scale. All exact: the same bits on every instruction set, for every operand.
// Multiplication, subtraction and rounding of a requantization are three float32 operations in this order, as in the
// simulation (quant/integer); rounding is half to even.
#pragma once

#include "core/kernels/conv_kernels.h"
#include "core/kernels/pool_kernels.h"

namespace qgrad {

// b = clamp(round(rescale * x / divisor - zero_point), low, high) - qmin; a NaN becomes low.
struct ByteOutput {
  float rescale = 1, divisor = 1, zero_point = 0;
  float low = 0, high = 0;  // within the grid, cut further by a ReLU
  float qmin = 0;
};

// Output rows [row_begin, row_end) of one image. Channel vectors have kBytePanel numbers for each panel, the last ones
// of a panel unused where it is not full.
struct ByteConv {
  const uint8_t* x;       // the image, [in_h,in_w,in]
  int32_t origin;         // of x; also what lies around the image
  const int16_t* weight;  // packed by byte_conv_pack
  const int32_t* bias;    // at the scale of the sums
  const float* rescale;
  const float* low;
  const float* high;
  float zero_point, qmin;
  uint8_t* y;  // the image's position (0, 0), [out_h,out_w,out]
  int64_t row_begin, row_end;
  int16_t* scratch;  // byte_conv_scratch(geometry, row_end - row_begin)
};

struct ByteOperand {
  const uint8_t* x;
  float origin, rescale;
};

struct ByteKernels {
  const char* isa;
  // Sums may not leave int32. The geometry's pitches are not looked at.
  void (*conv)(const ConvGeometry& geometry, const ByteConv& arguments);
  void (*quantize)(const float* x, uint8_t* y, size_t n, const ByteOutput& to);
  // y = (b - origin) * rescale / divisor
  void (*dequantize)(const ByteOperand& x, float divisor, float* y, size_t n);
  // Operands are first brought to the output's scale: clamp(round(rescale * (b - origin)), -limit - 1, limit).
  void (*add)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, float limit, const ByteOutput& to);
  // The sum of all rescale * (b - origin), in float.
  void (*add_values)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  // The product of all rescale * (b - origin), in float.
  void (*multiply)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  // Padding is never the maximum.
  void (*max_pool)(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry);
};

// Output channels that are computed together.
inline constexpr int64_t kBytePanel = 16;

int64_t byte_conv_panels(const ConvGeometry& geometry);  // of all groups
// Weights [kh,kw,in/groups,out] as [group][panel][kh][run][pair][kBytePanel][2]: pairs of neighbouring inputs, filled
// up with zeros.
int64_t byte_conv_packed(const ConvGeometry& geometry);
void byte_conv_pack(const ConvGeometry& geometry, const int16_t* weight, int16_t* packed);
// Numbers of scratch under `rows` output rows.
int64_t byte_conv_scratch(const ConvGeometry& geometry, int64_t rows);

}  // namespace qgrad
