// Which bytes a tensor can hold, whatever the image.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/program.h"

namespace qgrad::deploy {

// The bytes that a tensor can hold: those of its grid that the operation that makes it gives.
struct ByteRange {
  uint8_t lowest = 0, highest = 255;
};

// Of what an operation gives, a tensor of this type; all bytes where it gives none. ranges: of all tensors, those of
// its inputs being known.
ByteRange range_of(const Op& op, Type type, const std::vector<ByteRange>& ranges);

}  // namespace qgrad::deploy
