// One op, whose forward is nothing.
#include "quant/train/gradient_scaling.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/error.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {

Tensor with_scaled_gradient(const Tensor& x, const Tensor& y, float strength,
                            const std::vector<float>& steps_per_unit) {
  const auto channels = static_cast<int64_t>(steps_per_unit.size());
  check(channels == 1 || (x.rank() > 0 && x.dim(-1) == channels),
        "gradient scaling: {} steps do not fit the last dimension of {}", channels, x.shape());
  Tensor same = y.reshaped(y.shape());
  if (y.grid()) same.set_grid(*y.grid());
  return record("with_scaled_gradient", same, {y}, [x, y, strength, steps_per_unit](Tensor dy, Grads& dx) {
    Tensor scaled = dy.is_unique() ? dy : Tensor::empty(dy.shape());
    const std::span<const float> xs = x.data(), ys = y.data(), g = dy.data();
    const std::span<float> to = scaled.mutable_data();
    parallel_for(x.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
      const size_t width = steps_per_unit.size();
      for (auto i = static_cast<size_t>(begin), c = i % width; i < static_cast<size_t>(end); ++i) {
        const float distance = std::clamp((xs[i] - ys[i]) * steps_per_unit[c], -0.5f, 0.5f);
        to[i] = g[i] + strength * std::fabs(g[i]) * distance;
        if (++c == width) c = 0;
      }
    });
    dx.add(0, std::move(scaled));
  });
}

}  // namespace qgrad
