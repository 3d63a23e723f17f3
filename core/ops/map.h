// One kernel over all numbers of a tensor, split over threads; not recorded.
#pragma once

#include <algorithm>
#include <utility>

#include "core/kernels/table.h"
#include "core/parallel.h"
#include "core/tensor.h"

namespace qgrad {

// A tensor of x's shape, of which kernel(in, out, rows) fills some rows of `width` numbers at a time.
template <class F>
Tensor map_rows(const Tensor& x, int64_t width, F&& kernel) {
  Tensor y = Tensor::empty(x.shape());
  const float* const in = x.data().data();
  float* const out = y.mutable_data().data();
  parallel_for(x.numel() / width, std::max<int64_t>(1, kElementwiseGrain / width), [&](int64_t begin, int64_t end) {
    kernel(in + begin * width, out + begin * width, static_cast<size_t>(end - begin));
  });
  return y;
}

// kernel(in, out, count)
template <class F>
Tensor map(const Tensor& x, F&& kernel) {
  return map_rows(x, 1, std::forward<F>(kernel));
}

}  // namespace qgrad
