// APoT (Li, Dong and Wang, "Additive Powers-of-Two Quantization: An Efficient Non-uniform Discretization for Neural
// Networks", 2020): levels are sums of powers of two, up to a learned clip.
#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "quant/ranges/reductions.h"
#include "quant/train/learned_grid.h"

namespace qgrad {
namespace {

// The 2^bits levels from 0 to 1: sums of bits / 2 terms, term i being 0 or one of 2^-i, 2^-(i+n), 2^-(i+2n), scaled so
// that the largest is 1; an odd number of bits adds a term with one power (eq. 5; the authors' build_power_value).
std::vector<float> additive_powers_of_two(int bits) {
  const int terms = bits / 2, odd = bits % 2;
  std::vector<float> sums{0};
  const auto add_term = [&](const std::vector<int>& exponents) {
    const std::vector<float> before = sums;
    for (const int e : exponents)
      for (const float s : before) sums.push_back(s + std::ldexp(1.0f, -e));
  };
  // In the order of the exponents: two rounds of the terms, the single power, the terms' third round.
  for (int i = 1; i <= terms; ++i) add_term({i, i + terms, i + 2 * terms + odd});
  if (odd) add_term({2 * terms + 1});
  std::ranges::sort(sums);
  const float largest = sums.back();
  for (float& s : sums) s /= largest;
  return sums;
}

// y = alpha Q(x / alpha), Q to the nearest level of [0, 1], or of [-1, 1] where there are both signs (one bit is the
// sign then):
//   dy/dalpha = Q(x / alpha) - x / alpha between the ends, -1 below (0 without sign), 1 above   (eq. 8)
//   dy/dx = 1; of activations 0 at and beyond the ends
// Weights are normalized first, (w - mean) / std with mean and std as constants (section 2.3). The result is multiplied
// by std again, a factor that a batch norm would remove anyhow, so that layers without one keep their scale.
// alpha starts where the squared error is least.
class APoTQuantization final : public LearnedQuantization {
 public:
  static constexpr int kMostBits = 8;
  APoTQuantization(int bits, Role role, bool normalize_weights);
  std::string_view kind() const override { return "APoTQuantization"; }

  Levels levels() const override;
  std::vector<float> steps_per_unit(const Tensor& quantized) const override;  // in the mean

  Parameter alpha;  // [1]; of weights, in standard deviations when they are normalized

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  void make_levels(int bits);
  Grid grid_of_levels() const;  // its integers are more than the levels

  bool normalize_;
  int levels_bits_ = 0;
  Levels levels_;  // of an alpha of 1; multiples of the smallest positive one
};

struct MeanAndDeviation {
  float mean, deviation;
};
// The sample deviation, as the authors'; 1 where all numbers are equal, or as good as that.
MeanAndDeviation moments_of(const Tensor& x) {
  const double n = static_cast<double>(x.numel()), mean = sum_of(x.data()) / n;
  const double square = deviations_from(mean, x.data()).square;
  const auto deviation = static_cast<float>(std::sqrt(square / std::max(1.0, n - 1)));
  return {static_cast<float>(mean), std::isnormal(deviation) ? deviation : 1.0f};
}

Tensor normalized(const Tensor& x, const MeanAndDeviation& m) {
  return mul_scalar(add_scalar(x, -m.mean), 1 / m.deviation);
}

APoTQuantization::APoTQuantization(int bits, Role role, bool normalize_weights)
    : LearnedQuantization(bits, role),
      alpha(parameter("alpha", Tensor::full({1}, 1))),
      normalize_(normalize_weights && role == Role::weights) {
  check(bits <= kMostBits, "APoT: expected at most {} bits, got {}", kMostBits, bits);
  alpha.set_limits({kSmallestStep, kLargestStep});
  make_levels(bits);
}

void APoTQuantization::make_levels(int bits) {
  bits = std::min(bits, kMostBits);  // a schedule may ask for more
  if (levels_bits_ == bits) return;
  levels_bits_ = bits;
  levels_ = {additive_powers_of_two(is_signed() ? bits - 1 : bits), {}};
  std::vector<float>& levels = levels_.values;
  if (is_signed())
    for (size_t i = 1, n = levels.size(); i < n; ++i) levels.push_back(-levels[i]);
  std::ranges::sort(levels);
  for (size_t i = 1; i < levels.size(); ++i) levels_.thresholds.push_back((levels[i - 1] + levels[i]) / 2);
}

Levels APoTQuantization::levels() const {
  Levels levels = levels_;
  for (float& value : levels.values) value *= alpha.raw().item();
  for (float& threshold : levels.thresholds) threshold *= alpha.raw().item();
  return levels;
}

std::vector<float> APoTQuantization::steps_per_unit(const Tensor&) const {
  if (normalize_) return {};
  const std::vector<float> all = levels().values;
  return {static_cast<float>(all.size() - 1) / (all.back() - all.front())};
}

Grid APoTQuantization::grid_of_levels() const {
  const float smallest = *std::ranges::find_if(levels_.values, [](float level) { return level > 0; });
  const float largest = std::nearbyint(1 / smallest);
  return {.scale = largest / alpha.raw().item(), .qmin = is_signed() ? -largest : 0, .qmax = largest};
}

void APoTQuantization::start(const Tensor& x, int bits) {
  make_levels(bits);
  const Tensor values = normalize_ ? normalized(x, moments_of(x)) : x;
  const float clip = nearest_clip(values, 0.85f, [&](float c) { return on_levels(values, levels_, c); });
  alpha.raw().mutable_data()[0] = clip > 0 ? clip : 1;
}

Tensor APoTQuantization::quantize(const Tensor& x, int bits) {
  make_levels(bits);
  const float clip = alpha.raw().item(), below = is_signed() ? -1.0f : 0.0f;
  const auto on_grid = [&](const Tensor& values) {
    const GridParameter parameter{alpha(), [=](const GridSums& sums) {
                                    return static_cast<float>(sums.inside / clip + below * sums.below + sums.above);
                                  }};
    Tensor y = record_on_grid("apot", values, on_levels(values, levels_, clip),
                              {below * clip, clip, /*everywhere=*/is_parameter()}, {parameter});
    y.set_grid(grid_of_levels());
    return y;
  };
  if (!normalize_) return on_grid(x);
  const MeanAndDeviation m = moments_of(x);
  return mul_scalar(on_grid(normalized(x, m)), m.deviation);
}

// Config: {"class": "APoTQuantizer", "bits_activations": 4, "bits_weights": 4}
struct APoTConfig : LearnedQuantizerConfig {
  bool normalize_weights = true;
};
void fields(Fields& v, APoTConfig& c) {
  fields(v, static_cast<LearnedQuantizerConfig&>(c));
  v("normalize_weights", c.normalize_weights, {.help = "quantize (w - mean) / std of each layer's weights"});
}

class APoTQuantizer final : public LearnedQuantizer {
 public:
  explicit APoTQuantizer(const APoTConfig& config)
      : LearnedQuantizer(config, Rectifiers::unbounded_in_place), normalize_weights_(config.normalize_weights) {}

 protected:
  std::unique_ptr<LearnedQuantization> make(int bits, Role role) const override {
    return std::make_unique<APoTQuantization>(bits, role, normalize_weights_);
  }

 private:
  bool normalize_weights_;
};

const Registered<Quantizer, APoTQuantizer, APoTConfig> apot{
    "APoTQuantizer", "in training: levels that are sums of powers of two (Li et al. 2020)"};

}  // namespace
}  // namespace qgrad
