// Repeating a parameter, and adding up its gradient.
#include "nn/layers/per_example.h"

#include <algorithm>

#include "core/ops.h"
#include "core/tape.h"

namespace qgrad {
namespace {

Shape of_batch(int64_t batch, std::span<const int64_t> shape) {
  std::vector<int64_t> dims{batch};
  dims.insert(dims.end(), shape.begin(), shape.end());
  return Shape(dims);
}

const RegisteredLayer<PerExample, PerExampleConfig> per_example_class{"PerExample"};

}  // namespace

PerExample::PerExample(const PerExampleConfig& config)
    : value(parameter("value", Tensor::zeros(of_batch(1, config.shape)))) {}

// dvalue = the sum of dy over the batch
Tensor PerExample::forward(const Tensor& x) {
  check(x.rank() > 0, "PerExample: expected a batch, got one number");
  const Tensor one = value();
  const std::span<const float> from = one.data();
  Tensor y = Tensor::empty(of_batch(x.dim(0), one.shape().dims().subspan(1)));
  for (int64_t i = 0; i < x.dim(0); ++i)
    std::ranges::copy(from, y.mutable_data().begin() + i * static_cast<int64_t>(from.size()));
  return record("per_example", y, {one, x}, [](const Tensor& dy, Grads& dx) {
    if (!dx.needs(0)) return;
    const Tape::Paused paused;
    Tensor of_examples = dy;
    of_examples.set_part(dx.over_ranks(0) ? dy.dim(0) : 0);
    dx.add(0, sum(of_examples, 0, /*keep_dim=*/true));
  });
}

}  // namespace qgrad
