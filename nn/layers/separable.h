// Layers that add up rows, and then columns, with fixed weights, the same for every channel: averages over windows and
// interpolation.
#pragma once

#include "core/ops/linear_map.h"

namespace qgrad {

class Separable {
 public:
  virtual ~Separable() = default;
  virtual AxisMaps maps(const Shape& images) const = 0;  // for images of this shape; a row's numbers in ascending order
};

}  // namespace qgrad
