// Loops of batch normalisation on given numbers: of a multiple of eight channels.
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const NormKernels& k, const KernelNumbers& v, KernelCases& to) {
  const size_t channels = v.channels / 8 * 8, rows = channels ? v.size() / channels : 0, n = rows * channels;
  const float *x = v.a, *dy = v.b;
  std::vector<uint8_t> unread(n / 8);
  std::vector<float> unread_numbers(n);

  to.add<uint8_t>("mask_of_range", n / 8, [&](uint8_t* mask) { k.mask_of_range(x, mask, n, v.low, v.high); });
  to.add<float>("apply_mask", n, [&](float* dx) { k.apply_mask(dy, v.mask, dx, n); });
  to.add<double>("moments", 2 * channels,
                 [&](double* sums) { k.moments(x, rows, channels, v.of_channels, sums, sums + channels); });
  for (const uint8_t* mask : {static_cast<const uint8_t*>(nullptr), v.mask}) {
    const std::string name = mask ? ".masked" : "";
    to.add<double>("gradient_moments" + name, 2 * channels, [&](double* sums) {
      k.gradient_moments(x, dy, mask, rows, channels, v.of_channels, sums, sums + channels);
    });
    to.add<float>("normalize_backward" + name, n, [&](float* dx) {
      k.normalize_backward(x, dy, mask, dx, rows, channels, v.of_channels, v.positive, v.also, v.of_channels);
    });
  }
  constexpr float kNone = std::numeric_limits<float>::infinity();
  for (const bool add : {false, true})
    for (const auto& [relu, limit] : {std::pair(false, kNone), {true, kNone}, {true, 0.75f}}) {
      const Normalization f{v.of_channels, v.positive, v.also, add, relu, limit};
      std::string name = add ? "normalize.add" : "normalize";
      if (relu) name += limit < kNone ? ".relu_to" : ".relu";
      to.add<float>(name, n, [&, masks = relu](float* y) {
        k.normalize(f, x, v.c, y, masks ? unread.data() : nullptr, rows, channels);
      });
      if (!relu) continue;
      to.add<uint8_t>(name + ".mask", n / 8,
                      [&](uint8_t* inside) { k.normalize(f, x, v.c, unread_numbers.data(), inside, rows, channels); });
    }
}

}  // namespace qgrad
