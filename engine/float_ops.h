// Layers of a program that stay in float, with the kernels and in the order of operations of nn's layers.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/kernels/conv/conv.h"
#include "core/memory.h"
#include "engine/program.h"

namespace qgrad::deploy {

// Floats at the start of a cache line.
struct ReleaseFloats {
  size_t bytes = 0;
  void operator()(float* floats) const { pool::release(floats, bytes); }
};
using AlignedFloats = std::unique_ptr<float[], ReleaseFloats>;

// The weights of a float_conv as the kernel wants them; may be moved, not copied.
struct FloatWeights {
  FloatWeights() = default;
  // winograd: where it suits. Its sums are rounded in other places than those of a simulation.
  FloatWeights(const Program& program, const Op& op, bool winograd = false);
  FloatWeights(FloatWeights&&) = default;
  FloatWeights& operator=(FloatWeights&&) = default;

  AlignedFloats values;
  ConvPanels panels{};    // of values
  bool winograd = false;  // values at its points
};

// What a float_conv does before it stores its numbers, in the place of the operations that follow it: one addition, one
// clamp, both or neither. Nothing else reads what lies between.
struct FloatEnding {
  static constexpr int32_t kNone = -1;
  int32_t add = kNone, clamp = kNone;  // operations
  int32_t addend = kNone;              // the tensor that is added
  int32_t output = 0;                  // the tensor that is stored
};
std::vector<FloatEnding> float_endings(const Program& program);  // one for every operation

// The operation that reads a tensor, where there is one alone and it reads it once; else less than 0.
std::vector<int32_t> only_readers(const Program& program);

// A float_conv, on one image; conv.weight is not read. share: over the pool's threads.
void run_float_conv(const ConvGeometry& geometry, const FloatWeights& weights, ConvForward conv, bool share);
void run_float_rows(const ConvGeometry& geometry, ConvForward conv);  // those that it says, on this thread
ConvGeometry dense_geometry(const Program& program, const Op& op);    // positions of y without gaps

// Runs the other operations on floats whose outputs are float, but channels_first, on one image.
void run_float_op(const Program& program, const Op& op, std::span<const float* const> inputs, float* output);

}  // namespace qgrad::deploy
