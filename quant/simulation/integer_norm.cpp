// Run by run.
#include "quant/simulation/integer_norm.h"

#include <cmath>

#include "core/kernels/table.h"
#include "core/parallel.h"
#include "quant/simulation/passes.h"

namespace qgrad {
namespace {

void normalize_run(std::span<const float> integers, double epsilon, const LayerNorm& norm, std::span<float> y) {
  const auto count = static_cast<int64_t>(integers.size());
  int64_t sum = 0, squares = 0;
  for (const float x : integers) {
    const auto integer = static_cast<int64_t>(x);
    sum += integer;
    squares += integer * integer;
  }
  const double deviation = std::sqrt(static_cast<double>(count * squares - sum * sum) + epsilon);
  for (size_t c = 0; c < integers.size(); ++c) {
    const auto centred = static_cast<double>(count * static_cast<int64_t>(integers[c]) - sum);
    y[c] = static_cast<float>(centred / deviation);
    if (norm.weight.defined()) y[c] *= norm.weight.raw().data()[c];
    if (norm.bias.defined()) y[c] += norm.bias.raw().data()[c];
  }
}

}  // namespace

Tensor integer_layer_norm(const Tensor& integers, float step, const LayerNorm& norm) {
  Tensor y = Tensor::empty(integers.shape());
  const int64_t width = integers.dim(-1), runs = integers.numel() / width;
  const double count = static_cast<double>(width);
  const double epsilon = double{norm.eps()} * (count * count) / (double{step} * double{step});
  const std::span<const float> from = integers.data();
  const std::span<float> to = y.mutable_data();
  parallel_for(runs, std::max<int64_t>(1, kElementwiseGrain / width), [&](int64_t begin, int64_t end) {
    for (auto at = static_cast<size_t>(begin * width); at < static_cast<size_t>(end * width);
         at += static_cast<size_t>(width))
      normalize_run(from.subspan(at, static_cast<size_t>(width)), epsilon, norm,
                    to.subspan(at, static_cast<size_t>(width)));
  });
  return without_gradient("integer_layer_norm", std::move(y), integers);
}

}  // namespace qgrad
