// How a convolution of bytes is to be added up, decided from its weights once, when a program is loaded.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/kernels/byte_kernels.h"

namespace qgrad {

// A layer as programs know it: weights [kh,kw,in/groups,out], one of each other number for every output channel.
struct ByteConvSource {
  ConvGeometry geometry;
  std::span<const int16_t> weight;
  std::span<const int32_t> bias;  // of sums that are multiplied by 2^sum_shift first
  int sum_shift = 0;
  std::span<const float> rescale;
  std::span<const float> real_bias;    // of layers that give floats
  std::span<const uint8_t> low, high;  // of those that give bytes
  // Of the input: which bytes occur, and which one stands for zero.
  uint8_t lowest = 0, highest = 255, origin = 0;
  int32_t output_origin = 0;
};

// Products of four neighbouring inputs are one step. Steps of nothing but zeros are left out.
//
// In 16 bits: where no sums of `length` steps can pass 16 bits, whatever the
// input, they are added up there by vpmaddubsw, which multiplies twice as many numbers as vpmaddwd; steps are sorted
// into runs that make use of this. A step that could saturate by itself is a wide one, multiplied in 16 bits and added
// up in 32.
//
// In 32 bits every sum fits. A step whose weights pass a byte is taken twice, with two bytes that add up to them. Two
// panels have the same steps, so that a tile may compute both.
class ByteConvPlan {
 public:
  ByteConvPlan(const ByteConvSource& source, const ByteArithmetic& arithmetic);
  ByteConvPlan(ByteConvPlan&&) = default;
  ByteConvPlan& operator=(ByteConvPlan&&) = default;

  const ByteConvLayer& layer() const { return layer_; }
  int64_t narrow_steps() const { return narrow_steps_; }  // of all panels
  int64_t wide_steps() const { return wide_steps_; }

 private:
  struct Steps {
    std::vector<uint32_t> offset;
    std::vector<int8_t> narrow;
    std::vector<int16_t> wide;
    std::vector<ByteRun> runs;
    int64_t wide_steps = 0;
  };
  static Steps steps_of(const ByteConvSource& source, const ByteConvLayer& layer, int64_t group, int64_t panel);
  static Steps steps_of_pair(const ByteConvSource& source, const ByteConvLayer& layer, int64_t group, int64_t panel);
  static Steps pairs_of_taps(const ByteConvSource& source, const ByteConvLayer& layer, int64_t panel);
  static Steps fours_of_taps(const ByteConvSource& source, const ByteConvLayer& layer, int64_t panel);
  void add_channels(const ByteConvSource& source);

  ByteConvLayer layer_{};
  std::vector<Steps> steps_;  // what the panels point to
  std::vector<BytePanel> panels_;
  std::vector<int32_t> bias_, fraction_;
  std::vector<float> rescale_, real_bias_;
  std::vector<uint8_t> low_, high_;
  int64_t narrow_steps_ = 0, wide_steps_ = 0;
};

}  // namespace qgrad
