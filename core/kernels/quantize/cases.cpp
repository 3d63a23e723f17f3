// Loops of linear quantization on given numbers.
#include <vector>

#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const QuantizeKernels& k, const KernelNumbers& v, KernelCases& to) {
  const size_t n = v.size(), rows = v.rows(), channels = v.channels;
  for (const bool clips : {false, true}) {
    const QuantGrid grid = clips ? QuantGrid{.scale = v.scale, .low = v.low, .high = v.high}
                                 : QuantGrid{.scale = v.scale, .zero_point = v.zero_point, .qmin = -8, .qmax = 7};
    const std::string name = clips ? ".clipped" : "";
    to.add<float>("quantize" + name, n, [&](float* q) { k.quantize(v.a, q, n, grid); });
    to.add<float>("fake_quant" + name, n, [&](float* y) { k.fake_quant(v.a, y, n, grid); });
    to.add<float>("fake_quant_streaming" + name, n, [&](float* y) { k.fake_quant_streaming(v.a, y, n, grid); });
  }
  const ChannelQuantGrid grids{v.positive, v.also, -8, 7};
  to.add<float>("quantize_channels", n, [&](float* q) { k.quantize_channels(v.a, q, rows, channels, grids); });
  to.add<float>("fake_quant_channels", n, [&](float* y) { k.fake_quant_channels(v.a, y, rows, channels, grids); });
  to.add<float>("dequantize", n, [&](float* x) { k.dequantize(v.a, x, n, v.scale, v.zero_point); });
  to.add<float>("dequantize_channels", n,
                [&](float* x) { k.dequantize_channels(v.a, x, rows, channels, v.positive, v.also); });
  to.add<float>("mask_outside", n, [&](float* dx) { k.mask_outside(v.a, v.b, dx, n, v.low, v.high); });
  const float levels[] = {-1, -0.3f, 0, 0.5f, 1}, thresholds[] = {-0.65f, -0.15f, 0.25f, 0.75f};
  to.add<float>("to_levels", n, [&](float* y) { k.to_levels(v.a, y, n, {levels, thresholds, 5, v.scale}); });
  to.add<float>("learned_backward", n, [&](float* dx) { k.learned_backward(v.a, v.b, v.c, dx, n, v.low, v.high); });
  std::vector<float> gradient(n);
  to.add<double>("learned_backward.sums", 3, [&](double* sums) {
    const GridSums of = k.learned_backward(v.a, v.b, v.c, gradient.data(), n, v.low, v.high);
    sums[0] = of.inside, sums[1] = of.below, sums[2] = of.above;
  });
  to.add<float>("min_max", 2, [&](float* ends) { k.min_max(v.a, n, ends, ends + 1); });
  to.add<float>("min_max_channels", 2 * channels,
                [&](float* ends) { k.min_max_channels(v.a, rows, channels, ends, ends + channels); });
}

}  // namespace qgrad
