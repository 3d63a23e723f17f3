// Products of a given matrix, [positions, channels], with a square one, and with itself.
#include <vector>

#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const GemmKernels& k, const KernelNumbers& v, KernelCases& to) {
  const auto rows = static_cast<int64_t>(v.rows()), channels = static_cast<int64_t>(v.channels);
  std::vector<float> square(v.channels * v.channels);
  for (size_t i = 0; i < square.size(); ++i) square[i] = v.positive[i % v.channels] - v.also[i / v.channels];
  std::vector<float> panels(static_cast<size_t>(gemm_packed_floats(channels, channels)));
  gemm_pack(channels, channels, square.data(), channels, 1, panels.data());
  to.add<float>("multiply", v.size(), [&](float* c) {
    k.multiply({rows, channels, channels, v.tame, panels.data(), v.positive, c});
  });
}

void add_cases(const GemmGradientKernels& k, const KernelNumbers& v, KernelCases& to) {
  const auto rows = static_cast<int64_t>(v.rows()), channels = static_cast<int64_t>(v.channels);
  to.add<float>("multiply_transposed", v.channels * v.channels, [&](float* c) {
    k.multiply_transposed({0, channels, rows, channels, channels, v.tame, v.tame, c});
  });
  to.add<float>("add_column_sums", v.channels, [&](float* sum) { k.add_column_sums(rows, channels, v.a, sum); });
}

}  // namespace qgrad
