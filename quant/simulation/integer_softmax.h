// Softmax of integers.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace qgrad {

// round(2^30 exp(-d * step)) for every distance d between two integers of a grid, which has at most kMostDistances.
inline constexpr float kMostDistances = 1 << 16;
std::vector<int32_t> softmax_exponentials(const Grid& grid);

// Real values of the softmax of each run of dim(-1) integers u of a grid, held in floats, m being the largest of them:
// e(m - u) / sum e(m - u), e as above; integers up to the sum, then a quotient of doubles, rounded to float.
Tensor integer_softmax(const Tensor& integers, const Grid& grid);

}  // namespace qgrad
