// Sparse matrices along a dimension.
#include "core/ops/linear_map.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/batch_sum.h"
#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// y [inner] = weight x, or is added to.
void put_row(const float* x, float weight, float* y, int64_t inner, bool is_first) {
  const auto& k = kernels().elementwise;
  const auto n = static_cast<size_t>(inner);
  if (!is_first) return k.add_scaled(x, weight, y, n);
  if (weight == 1)
    std::copy_n(x, inner, y);
  else
    k.mul.scalar_right(x, weight, y, n);
}

// x [outer, columns, inner] -> y [outer, rows, inner]
void apply(const LinearMap& map, const float* x, int64_t outer, int64_t inner, float* y) {
  const int64_t rows = map.rows(), terms = std::max<int64_t>(1, static_cast<int64_t>(map.index.size()));
  const int64_t work = std::max<int64_t>(1, inner * (terms / std::max<int64_t>(1, rows) + 1));
  parallel_for(outer * rows, std::max<int64_t>(1, kElementwiseGrain / work), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* from = x + i / rows * map.columns * inner;
      float* to = y + i * inner;
      const auto row = static_cast<size_t>(i % rows);
      if (map.first[row] == map.first[row + 1]) std::fill_n(to, inner, 0.0f);
      for (int64_t t = map.first[row]; t < map.first[row + 1]; ++t)
        put_row(from + map.index[static_cast<size_t>(t)] * inner, map.weight[static_cast<size_t>(t)], to, inner,
                t == map.first[row]);
    }
  });
}

Tensor applied_to(const LinearMap& map, const Tensor& x, int dim) {
  Shape shape = x.shape();
  shape.set(dim, map.rows());
  Tensor y = Tensor::empty(shape);
  apply(map, x.data().data(), shape.numel_until(dim), shape.numel_from(dim + 1), y.mutable_data().data());
  return y;
}

}  // namespace

LinearMap LinearMap::transposed() const {
  LinearMap result(rows());
  result.first.assign(static_cast<size_t>(columns) + 1, 0);
  result.index.resize(index.size());
  result.weight.resize(index.size());
  for (const int64_t column : index) ++result.first[static_cast<size_t>(column) + 1];
  for (size_t c = 1; c < result.first.size(); ++c) result.first[c] += result.first[c - 1];
  std::vector<int64_t> next(result.first.begin(), result.first.end() - 1);
  for (int64_t row = 0; row < rows(); ++row)
    for (int64_t t = first[static_cast<size_t>(row)]; t < first[static_cast<size_t>(row) + 1]; ++t) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(index[static_cast<size_t>(t)])]++);
      result.index[at] = row;
      result.weight[at] = weight[static_cast<size_t>(t)];
    }
  return result;
}

bool LinearMap::is_identity() const {
  if (rows() != columns || std::ssize(index) != columns) return false;
  for (size_t i = 0; i < index.size(); ++i)
    if (index[i] != static_cast<int64_t>(i) || first[i] != static_cast<int64_t>(i) || weight[i] != 1) return false;
  return true;
}

Tensor mapped(const char* op, const Tensor& x, int dim, LinearMap map) {
  const int d = x.shape().normalize_dim(dim);
  check_not_over_batch(op, x, d);
  Tensor y = applied_to(map, x, d);
  return record(op, y, {x}, [d, map = std::make_shared<const LinearMap>(std::move(map))](const Tensor& dy, Grads& dx) {
    dx.add(0, applied_to(map->transposed(), dy, d));
  });
}

Tensor mapped(const char* op, const Tensor& x, AxisMaps maps) {
  const Tensor y = maps.rows.is_identity() ? x : mapped(op, x, 1, std::move(maps.rows));
  return maps.columns.is_identity() ? y : mapped(op, y, 2, std::move(maps.columns));
}

}  // namespace qgrad
