// Freezing, scaled gradients, and levels that are not evenly spaced.
#include "quant/quantization.h"

#include <memory>

#include "core/kernels/table.h"
#include "core/ops/map.h"
#include "quant/train/gradient_scaling.h"

namespace qgrad {

void Levels::stop_at(float cap) {
  for (size_t i = 0; i < thresholds.size(); ++i)
    if (thresholds[i] >= cap) values[i + 1] = values[i];
}

Tensor on_levels(const Tensor& x, const Levels& levels, float clip) {
  const LevelGrid grid{levels.values.data(), levels.thresholds.data(), levels.values.size(), clip};
  return map(x, [&](const float* in, float* out, size_t n) { kernels().quantize.to_levels(in, out, n, grid); });
}

void Quantization::set_frozen(bool frozen) {
  frozen_ = frozen;
  for (Parameter* p : parameters())
    if (p->defined()) p->raw().set_requires_grad(!frozen);
}

Tensor Quantization::forward(const Tensor& x) {
  if (gradient_scaling_ == 0 || !bits_ || !training()) return quantized(x);
  x.data();  // what waits to be computed is wanted as it is
  const auto levels = std::make_shared<ToLevels>();
  Tensor y = quantized(with_scaled_gradient(x, gradient_scaling_, levels));
  *levels = {y, steps_per_unit(y)};
  return y;
}

std::optional<ChannelGrid> Quantization::grid(const Tensor& quantized) const {
  if (!quantized.grid()) return std::nullopt;
  return *quantized.grid();
}

std::vector<float> Quantization::steps_per_unit(const Tensor& quantized) const {
  const auto of = grid(quantized);
  return of ? of->scale : std::vector<float>();
}

}  // namespace qgrad
