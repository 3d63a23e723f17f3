// Sums with fixed weights along one dimension: choosing, repeating, mirroring and interpolating are such. For the ops
// in this folder, and for layers that say what they compute.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"

namespace qgrad {

// A sparse matrix by rows: result k is the sum of weight[i] * x[index[i]] for i from first[k] to first[k + 1], in
// order.
struct LinearMap {
  int64_t columns = 0;  // numbers that are read
  std::vector<int64_t> first = {0}, index;
  std::vector<float> weight;

  explicit LinearMap(int64_t columns_) : columns(columns_) {}
  int64_t rows() const { return static_cast<int64_t>(first.size()) - 1; }
  void add(int64_t column, float factor) { index.push_back(column), weight.push_back(factor); }  // to the open row
  void end_row() { first.push_back(static_cast<int64_t>(index.size())); }
  void choose(int64_t column) { add(column, 1), end_row(); }  // a row that gives one number as it is
  LinearMap transposed() const;
  bool is_identity() const;
};

// Of images [N,H,W,C]: one map for the rows and one for the columns, the same for every channel.
struct AxisMaps {
  LinearMap rows, columns;
};

// x with the map applied to one dimension, which has map.columns numbers; recorded as `op`. dx is the transposed map of
// dy. The order of sums depends on the map only.
Tensor mapped(const char* op, const Tensor& x, int dim, LinearMap map);
// Images, whose rows are mapped first; x itself where both maps leave it as it is.
Tensor mapped(const char* op, const Tensor& x, AxisMaps maps);

}  // namespace qgrad
