// Reductions of float data for ranges and statistics: minima and maxima exact, sums in double, in an order that depends
// on the size only, so that results are the same on any number of threads.
#pragma once

#include <span>

#include "quant/affine.h"

namespace qgrad {

// Of no values: throws. NaN is not looked for; a sum shows whether any value was not finite.
ValueRange min_max(std::span<const float> x);
ValueRange over_ranks(ValueRange range, bool part);  // of what all ranks have, where it is that of a part of a batch
double sum_of(std::span<const float> x);

struct Deviations {
  double square = 0, absolute = 0;  // sums of (x - mean)^2 and |x - mean|
};
Deviations deviations_from(double mean, std::span<const float> x);

// Mean of |x - y|^p (Distiller ptq_coordinate_search.py:lp_loss). Throws unless both have the same size, above 0.
double lp_loss(std::span<const float> x, std::span<const float> y, double p);

}  // namespace qgrad
