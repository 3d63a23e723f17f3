// Weights that training left on a grid, as integers with scales, and what a batch norm and the grids around do to them.
#pragma once

#include <vector>

#include "core/grid.h"
#include "nn/module.h"

namespace qgrad {
class BatchNorm;
}

namespace qgrad::deploy {

// Weights as integers / scale, one scale or one for each output channel.
struct IntegerForm {
  Tensor integers;
  std::vector<float> scale;
};
// Throws where the levels of the transform are no integers of a program.
IntegerForm integer_form(const Parameter& weight);

// What a batch norm in evaluation does to each channel: factor * x + shift.
struct ChannelMap {
  std::vector<float> factor, shift;
};
ChannelMap channel_map_of(const BatchNorm& norm);

// y = factor * (w x + b) + shift: of integers the scale becomes scale / |factor|, and those of a negative factor
// change their sign; float weights are multiplied.
void fold(IntegerForm& form, Parameter& bias, const ChannelMap& map, size_t channels, bool integers);

// Where a batch norm leaves next to nothing of a channel, its bias is huge in steps of its sums, which must stay
// below 2^24, and no channel has more bits behind the point than the largest allows. Such a channel gets steps so
// coarse that it is no larger than the others: its weights lose bits, or vanish, but they added little to the bias.
// The same goes for a channel in whose steps the output's grid is wider than 2^27.
void coarsen_faint_channels(IntegerForm& form, const Parameter& bias, const Grid& input, const Grid& output);

// Biases that are added before requantization are integers at the scale of the sums, whose steps are coarse where
// weights and inputs have few bits, and batch norms leave biases with any value. Weights are therefore multiplied by
// a power of two, as large a one as keeps every sum below 2^24, where the simulation's floats are exact, and the
// output's grid within 2^29 steps: sums and biases have that many bits behind the point.
void refine(IntegerForm& form, const Parameter& bias, const Grid& input, const Grid& output);

}  // namespace qgrad::deploy
