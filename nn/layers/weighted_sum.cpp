// Sums, and what they start from.
#include "nn/layers/weighted_sum.h"

#include <cmath>

#include "nn/init.h"

namespace qgrad {

WeightedSum::WeightedSum(Tensor initial, bool with_bias, const Conv2dOptions& options)
    : WeightedSum(initial, with_bias, options, initial.rank() == 4 ? Layout::conv : Layout::linear) {}

WeightedSum::WeightedSum(Tensor initial, bool with_bias, const Conv2dOptions& options, const Layout& layout)
    : options_(options),
      weight(parameter("weight", initial, layout)),
      bias(parameter("bias", with_bias ? Tensor::zeros({initial.dim(-1)}) : Tensor())) {}

Tensor WeightedSum::sums(const Tensor& x, const Tensor& w, const Tensor& b) const {
  return w.rank() == 4 ? conv2d(x, w, b, options_) : linear(x, w, b);
}

void WeightedSum::initialize(const Initializer& draw) {
  const Shape& shape = weight.raw().shape();
  const int64_t window = shape.rank() == 4 ? shape[0] * shape[1] : 1;
  if (shape.rank() == 4 && draw.convolutions() == ConvInit::kaiming_fan_out)
    return draw.normal(weight, std::sqrt(2.0 / static_cast<double>(window * shape[-1])));
  const double bound = 1 / std::sqrt(static_cast<double>(window * shape[-2]));
  draw.uniform(weight, bound);
  draw.uniform(bias, bound);
}

}  // namespace qgrad
