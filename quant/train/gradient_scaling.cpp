// One op, whose forward is nothing.
#include "quant/train/gradient_scaling.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/error.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {

Tensor with_scaled_gradient(const Tensor& x, float strength, const std::shared_ptr<const ToLevels>& levels) {
  Tensor same = x.reshaped(x.shape());
  if (x.grid()) same.set_grid(*x.grid());
  return record("with_scaled_gradient", same, {x}, [x, strength, levels](Tensor dy, Grads& dx) {
    const std::vector<float>& steps = levels->steps_per_unit;
    if (steps.empty()) return dx.add(0, std::move(dy));
    check(steps.size() == 1 || (x.rank() > 0 && x.dim(-1) == std::ssize(steps)),
          "gradient scaling: {} steps do not fit the last dimension of {}", steps.size(), x.shape());
    Tensor scaled = dy.is_unique() ? dy : Tensor::empty(dy.shape());
    const std::span<const float> xs = x.data(), ys = levels->y.data(), g = dy.data();
    const std::span<float> to = scaled.mutable_data();
    parallel_for(x.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
      const size_t width = steps.size();
      for (auto i = static_cast<size_t>(begin), c = i % width; i < static_cast<size_t>(end); ++i) {
        const float distance = std::clamp((xs[i] - ys[i]) * steps[c], -0.5f, 0.5f);
        to[i] = g[i] + strength * std::fabs(g[i]) * distance;
        if (++c == width) c = 0;
      }
    });
    dx.add(0, std::move(scaled));
  });
}

}  // namespace qgrad
