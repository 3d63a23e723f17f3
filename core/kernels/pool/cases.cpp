// Windows of 3 x 3, every second one, over a given image.
#include <algorithm>
#include <vector>

#include "core/kernels/cases.h"

namespace qgrad {

namespace {

PoolGeometry geometry_of(const KernelNumbers& v) {
  PoolGeometry g{.height = static_cast<int64_t>(v.height),
                 .width = static_cast<int64_t>(v.width),
                 .channels = static_cast<int64_t>(v.channels)};
  g.kernel_h = g.kernel_w = 3, g.stride_h = g.stride_w = 2, g.padding_h = g.padding_w = 1;
  g.out_height = (g.height - 1) / 2 + 1, g.out_width = (g.width - 1) / 2 + 1;
  return g;
}
size_t outputs_of(const PoolGeometry& g) { return static_cast<size_t>(g.out_height * g.out_width * g.channels); }

}  // namespace

void add_cases(const PoolKernels& k, const KernelNumbers& v, KernelCases& to) {
  if (v.rows() == 0) return;
  const PoolGeometry g = geometry_of(v);
  to.add<float>("max_forward", outputs_of(g), [&](float* y) { k.max_forward(v.a, y, g); });
  to.add<float>("average_forward", outputs_of(g), [&](float* y) { k.average_forward(v.a, y, g); });
}

void add_cases(const PoolGradientKernels& k, const KernelNumbers& v, KernelCases& to) {
  if (v.rows() == 0) return;
  const PoolGeometry g = geometry_of(v);
  std::vector<float> largest(outputs_of(g));
  available_kernels().front()->pool.max_forward(v.tame, largest.data(), g);
  const auto backward = [&](const char* name, auto&& add_gradient) {
    to.add<float>(name, v.size(), [&](float* dx) {
      std::fill_n(dx, v.size(), 0.0f);
      add_gradient(dx);
    });
  };
  backward("max_backward", [&](float* dx) { k.max_backward(v.tame, largest.data(), v.b, dx, g); });
  backward("average_backward", [&](float* dx) { k.average_backward(v.b, dx, g); });
}

}  // namespace qgrad
