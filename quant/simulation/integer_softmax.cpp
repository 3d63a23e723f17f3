// Run by run.
#include "quant/simulation/integer_softmax.h"

#include <algorithm>
#include <cmath>

#include "core/kernels/table.h"
#include "core/parallel.h"
#include "quant/simulation/passes.h"

namespace qgrad {
namespace {

void softmax_of_run(std::span<const float> integers, const std::vector<int32_t>& exponentials, std::span<float> y) {
  const float largest = *std::ranges::max_element(integers);
  const auto exponential = [&](float x) { return exponentials[static_cast<size_t>(largest - x)]; };
  int64_t sum = 0;
  for (const float x : integers) sum += exponential(x);
  for (size_t i = 0; i < integers.size(); ++i)
    y[i] = static_cast<float>(static_cast<double>(exponential(integers[i])) / static_cast<double>(sum));
}

}  // namespace

std::vector<int32_t> softmax_exponentials(const Grid& grid) {
  std::vector<int32_t> exponentials(static_cast<size_t>(grid.qmax - grid.qmin) + 1);
  for (size_t d = 0; d < exponentials.size(); ++d)
    exponentials[d] =
        static_cast<int32_t>(std::llrint(0x1p30 * std::exp(-static_cast<double>(d) * double{grid.step()})));
  return exponentials;
}

Tensor integer_softmax(const Tensor& integers, const Grid& grid) {
  const std::vector<int32_t> exponentials = softmax_exponentials(grid);
  Tensor y = Tensor::empty(integers.shape());
  const int64_t width = integers.dim(-1), runs = integers.numel() / width;
  const std::span<const float> from = integers.data();
  const std::span<float> to = y.mutable_data();
  parallel_for(runs, std::max<int64_t>(1, kElementwiseGrain / width), [&](int64_t begin, int64_t end) {
    for (auto at = static_cast<size_t>(begin * width); at < static_cast<size_t>(end * width);
         at += static_cast<size_t>(width))
      softmax_of_run(from.subspan(at, static_cast<size_t>(width)), exponentials,
                     to.subspan(at, static_cast<size_t>(width)));
  });
  return without_gradient("integer_softmax", std::move(y), integers);
}

}  // namespace qgrad
