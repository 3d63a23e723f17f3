// Windows of 3 x 3, every second one, over a given image.
#include <algorithm>
#include <vector>

#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const PoolKernels& k, const KernelNumbers& v, KernelCases& to) {
  if (v.rows() == 0) return;
  PoolGeometry g{.height = static_cast<int64_t>(v.height),
                 .width = static_cast<int64_t>(v.width),
                 .channels = static_cast<int64_t>(v.channels)};
  g.kernel_h = g.kernel_w = 3, g.stride_h = g.stride_w = 2, g.padding_h = g.padding_w = 1;
  g.out_height = (g.height - 1) / 2 + 1, g.out_width = (g.width - 1) / 2 + 1;
  const auto outputs = static_cast<size_t>(g.out_height * g.out_width * g.channels);
  std::vector<float> largest(outputs);
  available_kernels().front()->pool.max_forward(v.tame, largest.data(), g);
  const auto backward = [&](const char* name, auto&& add_gradient) {
    to.add<float>(name, v.size(), [&](float* dx) {
      std::fill_n(dx, v.size(), 0.0f);
      add_gradient(dx);
    });
  };
  to.add<float>("max_forward", outputs, [&](float* y) { k.max_forward(v.a, y, g); });
  backward("max_backward", [&](float* dx) { k.max_backward(v.tame, largest.data(), v.b, dx, g); });
  to.add<float>("average_forward", outputs, [&](float* y) { k.average_forward(v.a, y, g); });
  backward("average_backward", [&](float* dx) { k.average_backward(v.b, dx, g); });
}

}  // namespace qgrad
