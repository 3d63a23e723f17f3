// Column sums, compiled per instruction set.
#pragma once

#include "core/kernels/lanes.h"

namespace qgrad {
namespace {

// Adds the sums of `strips` times eight columns, row by row.
template <int strips>
inline void add_strip(int64_t rows, int64_t columns, const float* x, float* sum) {
  Lanes total[strips];
  for (int i = 0; i < strips; ++i) total[i] = QGRAD_LOAD(sum + i * kLanes);
  for (int64_t row = 0; row < rows; ++row, x += columns)
    for (int i = 0; i < strips; ++i) total[i] += QGRAD_LOAD(x + i * kLanes);
  for (int i = 0; i < strips; ++i) QGRAD_STORE(sum + i * kLanes, total[i]);
}

inline void add_column_sums(int64_t rows, int64_t columns, const float* x, float* sum) {
  constexpr int64_t kStrip = 4 * kLanes;
  int64_t column = 0;
  for (; column + kStrip <= columns; column += kStrip) add_strip<4>(rows, columns, x + column, sum + column);
  for (; column + int64_t{kLanes} <= columns; column += kLanes) add_strip<1>(rows, columns, x + column, sum + column);
  for (; column < columns; ++column)
    for (int64_t row = 0; row < rows; ++row) sum[column] += x[row * columns + column];
}

}  // namespace
}  // namespace qgrad
