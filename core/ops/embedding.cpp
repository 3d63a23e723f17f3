// Rows of a table by number.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {

// y_i = table[ids_i]; dtable[r] = the sum of dy_i over all i with ids_i = r, added in the order of i.
Tensor embedding(const Tensor& ids, const Tensor& table) {
  check(table.rank() == 2, "embedding: expected a table [rows, width], got {}", table.shape());
  check(ids.rank() < Shape::kMaxRank, "embedding: ids of shape {} leave no room for a dimension", ids.shape());
  const int64_t rows = table.dim(0), width = table.dim(1);
  const std::span<const float> which = ids.data();
  for (size_t i = 0; i < which.size(); ++i) {
    const float id = which[i];
    check(id >= 0 && id < static_cast<float>(rows) && id == static_cast<float>(static_cast<int64_t>(id)),
          "embedding: id {} is {}, expected an integer from 0 to {}", i, id, rows - 1);
  }
  std::array<int64_t, Shape::kMaxRank> dims{};
  std::ranges::copy(ids.shape().dims(), dims.begin());
  dims[static_cast<size_t>(ids.rank())] = width;
  Tensor y = Tensor::empty(Shape(std::span<const int64_t>(dims.data(), static_cast<size_t>(ids.rank() + 1))));
  const float* from = table.data().data();
  float* to = y.mutable_data().data();
  parallel_for(ids.numel(), std::max<int64_t>(1, kElementwiseGrain / std::max<int64_t>(1, width)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t i = begin; i < end; ++i)
                   std::memcpy(to + i * width, from + static_cast<int64_t>(which[static_cast<size_t>(i)]) * width,
                               static_cast<size_t>(width) * sizeof(float));
               });
  return record("embedding", y, {ids, table}, [ids, shape = table.shape(), width](Tensor dy, Grads& dx) {
    if (!dx.needs(1)) return;
    Tensor g = Tensor::zeros(shape);
    const float *gradient = dy.data().data(), *row_of = ids.data().data();
    float* out = g.mutable_data().data();
    // Each task adds its own columns for all ids, so that no two tasks meet and the order is fixed; one rank after the
    // other.
    constexpr int64_t kColumnsOfTask = 64;
    add_in_turn(dx.over_ranks(1), g.mutable_data(), [&] {
      parallel_for(width, kColumnsOfTask, [&](int64_t begin, int64_t end) {
        for (int64_t i = 0; i < ids.numel(); ++i) {
          float* row = out + static_cast<int64_t>(row_of[i]) * width + begin;
          kernels().elementwise.add.same(row, gradient + i * width + begin, row, static_cast<size_t>(end - begin));
        }
      });
    });
    dx.add(1, g);
  });
}

}  // namespace qgrad
