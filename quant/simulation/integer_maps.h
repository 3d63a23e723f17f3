// Weighted sums along rows and columns with integer weights.
#pragma once

#include "core/ops/linear_map.h"

namespace qgrad {

// Weights that are integers, each of which stands for this many times itself: what the two maps together multiply by.
struct IntegerMaps {
  AxisMaps weights;
  float step = 1;
};

// Every weight as a fraction of the smallest divisor of its axis that all of them are fractions of. Where that would be
// so large that sums of bytes could pass 2^24, up to which floats hold every integer, weights are rounded to fractions
// of the largest divisor that is not; sums of a row's weights from its start on are what is rounded, so that a row
// keeps its own sum.
IntegerMaps integer_maps(const AxisMaps& real);

}  // namespace qgrad
