// Loops of integer layers on given numbers.
#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const IntegerKernels& k, const KernelNumbers& v, KernelCases& to) {
  const size_t n = v.size();
  const IntegerGrid grid{
      .scale = v.scale, .divisor = v.high + 1, .zero_point = v.zero_point, .qmin = -128, .qmax = 127};
  const Requantization output{.low = v.low, .divisor = v.high + 1, .grid = grid};
  to.add<float>("to_integers", n, [&](float* y) { k.to_integers(v.a, y, n, grid); });
  to.add<float>("to_integers_rescaled", n,
                [&](float* y) { k.to_integers_rescaled(v.a, y, n, grid, v.scale, -100, 90); });
  to.add<float>("fake_quant", n, [&](float* y) { k.fake_quant(v.a, y, n, grid); });
  to.add<float>("requantize", n, [&](float* y) { k.requantize(v.a, y, n, v.scale, v.high, output); });
  to.add<float>("requantize_channels", n,
                [&](float* y) { k.requantize_channels(v.a, y, v.rows(), v.channels, v.positive, v.also, output); });
}

}  // namespace qgrad
