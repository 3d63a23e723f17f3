// Kernels of the integer engine: tensors are bytes, sums are int32, scales are float32.
//
// A byte b stands for (b - origin) * step. All exact: the same bits on every instruction set, for every operand. What a
// requantization multiplies or divides is rounded to float32 before it is rounded to an integer, half to even, as in
// the simulation (quant/simulation).
#pragma once

#include "core/kernels/conv/conv.h"
#include "core/kernels/pool/pool.h"

namespace qgrad {

// b = clamp(round(x / step), low, high) + origin; a NaN becomes low. The limits, in steps from zero, are within the
// grid, cut further by a ReLU.
struct ByteOutput {
  float step = 1, low = 0, high = 0, origin = 0;
};

// Output channels that are computed together: a panel. The last one of a group may not be full. Depthwise layers may
// have wider ones.
inline constexpr int64_t kBytePanel = 16;

// What an instruction set adds up the products of bytes in: vpmaddubsw in 16 bits, which may saturate, vpdpbusd in 32.
enum class ByteSums { of_16_bits, of_32_bits };

// What the plan of a layer depends on.
struct ByteArithmetic {
  ByteSums sums = ByteSums::of_16_bits;
  int64_t depthwise_panel = kBytePanel;
};

// `count` stretches of `length` steps each, whose products vpmaddubsw may add up.
struct ByteRun {
  int32_t length, count;
};

// How one panel's products are added up: a list of steps. Each multiplies four neighbouring inputs at `offset` bytes
// behind a position's first one; in depthwise layers, the panel's channels at two such offsets (wide steps) or four.
struct BytePanel {
  const uint32_t* offset;  // of the narrow steps, in the order of the runs, then of the wide ones
  const int8_t* narrow;    // [narrow steps][channels of the panel][4]
  const int16_t* wide;     // [wide steps][2][kBytePanel][2], see byte_plan.cpp
  const ByteRun* runs;
  int64_t run_count, narrow_steps, wide_steps;
};

// A convolution as the kernels want it; made by ByteConvPlan. Channel vectors have a number for each channel of a
// panel.
struct ByteConvLayer {
  ConvGeometry geometry;  // its pitches are not looked at
  int64_t panel;          // channels of one
  bool depthwise;         // as many groups as inputs and outputs
  bool direct;            // the steps look at the image itself, else at a copy in scratch with a border
  int64_t row_pitch;      // of what they look at
  uint8_t base;           // taken off every byte of the image when it is copied
  uint8_t outside;        // what stands in the border
  const BytePanel* panels;
  // Sums begin with bias; then they are multiplied by 2^sum_shift, and fraction is added, where there is any. In wide
  // panels they and the weights are in the order of lane_of().
  const int32_t* bias;
  const int32_t* fraction;
  int32_t sum_shift;
  const float* rescale;
  bool large_steps;        // some may pass 2^30, as no sum does that is multiplied by less than a half
  const float* real_bias;  // where sums become floats, sum * rescale + real_bias; null: they become bytes
  const uint8_t* low;      // limits of the output bytes
  const uint8_t* high;
  int32_t origin;  // of the output
};
inline constexpr int32_t kByteGridLimit = 32000;

// Where a channel's sum is while a depthwise panel is computed: interleaving the bytes of four taps in registers of
// `panel` bytes takes its channels apart, and packing sums into bytes puts them together again.
constexpr int64_t lane_of(int64_t channel, int64_t panel) {
  return channel % 16 / 4 * (panel / 4) + channel / 16 * 4 + channel % 4;
}

// Output rows [row_begin, row_end) of one image.
struct ByteConv {
  const uint8_t* x;  // the image, [in_h,in_w,in]
  uint8_t* y;        // the image's position (0, 0), [out_h,out_w,out] bytes or floats
  int64_t row_begin, row_end;
  uint8_t* scratch;  // byte_conv_scratch(layer, row_end - row_begin)
};

struct ByteOperand {
  const uint8_t* x;
  float origin, step;
};

// y[row][column] = sum_k x[row][k] factors[k][column], of 16-bit integers, k in pairs: x [rows][pairs][2],
// factors [pairs][kBytePanel panels][2], y [rows][kBytePanel panels].
struct ByteProduct {
  const int16_t* x;
  const int16_t* factors;
  int32_t* y;
  int64_t rows, pairs, panels;
};

struct ByteKernels {
  const char* isa = nullptr;
  ByteArithmetic arithmetic;
  // Sums may not leave int32.
  void (*conv)(const ByteConvLayer& layer, const ByteConv& arguments);
  void (*quantize)(const float* x, uint8_t* y, size_t n, const ByteOutput& to);
  void (*dequantize)(const ByteOperand& x, float* y, size_t n);
  // The sum, and the product, of all (b - origin) * step, in float.
  void (*add)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  void (*multiply)(const ByteOperand* operands, size_t count, uint8_t* y, size_t n, const ByteOutput& to);
  // The same of floats, and min(max(x, low), high).
  void (*add_floats)(const float* a, const float* b, float* y, size_t n);
  void (*multiply_floats)(const float* a, const float* b, float* y, size_t n);
  void (*clamp_floats)(const float* x, float* y, size_t n, float low, float high);
  // Sums may not leave int32.
  void (*product)(const ByteProduct& arguments);
  // Padding is never the maximum.
  void (*max_pool)(const uint8_t* x, uint8_t* y, const PoolGeometry& geometry);
};

// Bytes of scratch under `rows` output rows.
int64_t byte_conv_scratch(const ByteConvLayer& layer, int64_t rows);

}  // namespace qgrad
