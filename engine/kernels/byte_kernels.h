// Kernels of the integer engine: tensors are bytes, sums are int32, scales are float32.
//
// A byte b stands for (b - origin) / scale. All exact: the same bits on every instruction set, for every operand.
// Multiplication, subtraction and rounding of a requantization are three float32 operations in this order, as in the
// simulation (quant/integer); rounding is half to even.
#pragma once

#include "core/kernels/conv/conv.h"
#include "core/kernels/pool/pool.h"

namespace qgrad {

// b = clamp(round(rescale * x / divisor - zero_point), low, high) - qmin; a NaN becomes low.
struct ByteOutput {
  float rescale = 1, divisor = 1, zero_point = 0;
  float low = 0, high = 0;  // within the grid, cut further by a ReLU
  float qmin = 0;
};

// Output channels that are computed together: a panel. The last one of a group may not be full.
inline constexpr int64_t kBytePanel = 16;

// `count` stretches of `length` steps each, whose products vpmaddubsw may add up in 16 bits.
struct ByteRun {
  int32_t length, count;
};

// How one panel's products are added up: a list of steps. Each multiplies four neighbouring inputs at `offset` bytes
// behind a position's first one; in depthwise layers, the panel's channels at two such offsets.
struct BytePanel {
  const uint32_t* offset;  // of the narrow steps, in the order of the runs, then of the wide ones
  const int8_t* narrow;    // [narrow steps][kBytePanel][4]
  const int16_t* wide;     // [wide steps][2][kBytePanel][2], see byte_plan.cpp
  const ByteRun* runs;
  int64_t run_count, wide_steps;
};

// A convolution as the kernels want it; made by ByteConvPlan. Channel vectors have kBytePanel numbers for each panel.
struct ByteConvLayer {
  ConvGeometry geometry;  // its pitches are not looked at
  bool depthwise;         // as many groups as inputs and outputs
  bool direct;            // the steps look at the image itself, else at a copy in scratch with a border
  int64_t row_pitch;      // of what they look at
  uint8_t base;           // taken off every byte of the image when it is copied
  uint8_t outside;        // what stands in the border
  const BytePanel* panels;
  // Sums begin with bias; then they are multiplied by 2^sum_shift, and fraction is added, where there is any.
  const int32_t* bias;
  const int32_t* fraction;
  int32_t sum_shift;
  const float* rescale;
  const int32_t* multiplier;  // with `shift` in place of rescale, where there are any; see FixedPoint
  const int32_t* shift;
  const uint8_t* low;  // limits of the output bytes
  const uint8_t* high;
  float zero_point;  // of the output, as its qmin, which is within kByteGridLimit
  int32_t qmin;
};
inline constexpr int32_t kByteGridLimit = 32000;

// Output rows [row_begin, row_end) of one image.
struct ByteConv {
  const uint8_t* x;  // the image, [in_h,in_w,in]
  uint8_t* y;        // the image's position (0, 0), [out_h,out_w,out]
  int64_t row_begin, row_end;
  uint8_t* scratch;  // byte_conv_scratch(layer, row_end - row_begin)
};

// A factor as multiplier / 2^shift, exactly: multipliers have 24 bits, shifts are 17 to 60. Products of such a factor
// and an int32 fit 64 bits, and are rounded half to even once.
struct FixedPoint {
  int32_t multiplier, shift;
};
FixedPoint fixed_point(float factor);  // 2^-36 .. 2^6

// b = clamp(table[x], ..): an operand as a function of its byte.
struct ByteTerm {
  const uint8_t* x;
  const int32_t* table;  // [256]
};

// An output in integers: b = clamp(x - zero_point, low, high) - qmin.
struct ByteIntegers {
  int32_t zero_point = 0, low = 0, high = 0, qmin = 0;
};

struct ByteOperand {
  const uint8_t* x;
  float origin, rescale;
};

struct ByteKernels {
  const char* isa;
  // Sums may not leave int32.
  void (*conv)(const ByteConvLayer& layer, const ByteConv& arguments);
  void (*quantize)(const float* x, uint8_t* y, size_t n, const ByteOutput& to);
  // y = (b - origin) * rescale / divisor
  void (*dequantize)(const ByteOperand& x, float divisor, float* y, size_t n);
  // Operands are first brought to the output's scale: clamp(round(rescale * (b - origin)), -limit - 1, limit). Their
  // sum may not pass 2^24.
  void (*add)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, float limit, const ByteOutput& to);
  // The same without floating point: the sum of all tables' numbers.
  void (*add_terms)(const ByteTerm* terms, size_t count, uint8_t* y, size_t n, const ByteIntegers& to);
  // The product of all (b - origin), which are in the terms' tables, times the factor.
  void (*multiply_terms)(const ByteTerm* terms, size_t count, uint8_t* y, size_t n, const FixedPoint& factor,
                         const ByteIntegers& to);
  // The sum of all rescale * (b - origin), in float.
  void (*add_values)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  // The product of all rescale * (b - origin), in float.
  void (*multiply)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  // Padding is never the maximum.
  void (*max_pool)(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry);
};

// Bytes of scratch under `rows` output rows.
int64_t byte_conv_scratch(const ByteConvLayer& layer, int64_t rows);

}  // namespace qgrad
