// The rule, and the levels around zero.
#include "quant/train/sawb.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quant/ranges/reductions.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

struct Coefficients {
  int bits;
  double c1, c2;
};
constexpr std::array<Coefficients, 5> kCoefficients{
    {{2, 3.12, -2.064}, {3, 7.509, -6.892}, {4, 12.68, -12.80}, {5, 17.74, -18.64}, {8, 31.76, -35.04}}};

const Coefficients& coefficients_of(int bits) {
  const auto* found = std::ranges::find(kCoefficients, bits, &Coefficients::bits);
  check(found != kCoefficients.end(), "SAWB weights: expected 2, 3, 4, 5 or 8 bits, got {}", bits);
  return *found;
}

// Weights that are all equal, or almost, have levels at their own size.
float largest_level(const Tensor& weights, int bits) {
  const auto n = static_cast<double>(weights.numel());
  const auto [square, absolute] = deviations_from(0, weights.data());
  const auto [_, c1, c2] = coefficients_of(bits);
  const double end = c1 * std::sqrt(square / n) + c2 * absolute / n;
  return static_cast<float>(std::max({end, absolute / n, 1e-6}));
}

}  // namespace

SawbQuantizeParam::SawbQuantizeParam(int bits) : Quantization(bits), scale(buffer("scale", Tensor::full({1}, 1))) {
  coefficients_of(bits);
}

std::string SawbQuantizeParam::describe() const { return fmt::format("bits={}", own_bits()); }

Tensor SawbQuantizeParam::quantized(const Tensor& parameter) {
  if (!bits()) return parameter;
  const auto levels = static_cast<float>(std::exp2(*bits()) - 1);
  scale.set(Tensor::full({1}, levels / (2 * largest_level(parameter, *bits()))));
  return linear_quantize_ste(parameter, grid_of(*bits()));
}

ChannelGrid SawbQuantizeParam::grid_of(int bits) const {
  return {{scale.item()}, {0.5f}, quantized_range(bits, LinearQuantMode::asymmetric_signed)};
}

}  // namespace qgrad
