// Layers of a program that stay in float, with the kernels and in the order of operations of nn's layers.
#pragma once

#include <span>

#include "core/kernels/conv/conv.h"
#include "engine/program.h"

namespace qgrad::deploy {

// The weights of a float_conv or real_conv as the kernel wants them; may be moved, not copied.
struct FloatWeights {
  FloatWeights() = default;
  FloatWeights(const Program& program, const Op& op);
  FloatWeights(FloatWeights&&) = default;
  FloatWeights& operator=(FloatWeights&&) = default;

  std::vector<float> values, packed;
  ConvPanels panels{};  // in values or in packed
};

// Runs the operations whose outputs are float, but dequantize and channels_first, on one image. inputs: floats, and of
// a real_conv bytes. Its integers are held in floats, where sums up to 2^24 are exact.
void run_float_op(const Program& program, const Op& op, const FloatWeights& weights,
                  std::span<const void* const> inputs, float* output);

}  // namespace qgrad::deploy
