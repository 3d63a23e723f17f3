// TQT (Jain et al., "Trained Quantization Thresholds for Accurate and Efficient Fixed-Point Inference of Deep Neural
// Networks", 2019): scales are powers of two, given by trained thresholds.
#include <cmath>
#include <limits>
#include <numbers>

#include "core/tape.h"
#include "quant/train/learned_grid.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// y = s q, q = clamp(round(x / s), qmin, qmax), s = 2^ceil(log2 t) / 2^(bits-1), or / 2^bits without sign (eq. 4):
//   dy/dlog2 t = s ln 2 (q - x / s) where round(x / s) is one of the integers, s ln 2 qmin below, s ln 2 qmax above
//   dy/dx = 1 where round(x / s) is one of the integers, else 0                                       (eq. 7 and 8)
// With normalized gradients, g becomes tanh(g / sqrt(v)) with v the bias-corrected moving average of g^2, decay 0.999
// (appendix B). The threshold starts as the power of two times max|x| that has the least squared error.
class TQTQuantization final : public LearnedQuantization {
 public:
  TQTQuantization(int bits, Role role, bool normalize_gradients);
  std::string_view kind() const override { return "TQTQuantization"; }
  float step(int bits) const;

  Parameter log2_threshold;                // [1]
  Buffer gradient_square, gradient_count;  // [1]: the moving average, and how many gradients it has seen

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  float normalized(double gradient);
  bool normalize_gradients_;
};

Tensor on_grid(const Tensor& x, float step, const QuantizedRange& range) {
  const Tape::Paused paused;
  return linear_quantize_ste(x, {{1 / step}, {0}, range});
}

// The first number beyond those that round to `integer`, half to even, towards `direction`.
float beyond(float integer, float direction) {
  const float tie = integer + std::copysign(0.5f, direction);
  return std::nearbyint(tie) == integer ? std::nextafter(tie, direction) : tie;
}

TQTQuantization::TQTQuantization(int bits, Role role, bool normalize_gradients)
    : LearnedQuantization(bits, role),
      log2_threshold(parameter("log2_threshold", Tensor::zeros({1}))),
      gradient_square(buffer("gradient_square", Tensor::zeros({1}))),
      gradient_count(buffer("gradient_count", Tensor::zeros({1}))),
      normalize_gradients_(normalize_gradients) {
  log2_threshold.set_limits({-20, 20});
  gradient_square.set_limits({.low = 0});
  gradient_count.set_limits({.low = 0});
}

float TQTQuantization::step(int bits) const {
  return std::exp2(std::ceil(log2_threshold.raw().item()) - static_cast<float>(is_signed() ? bits - 1 : bits));
}

void TQTQuantization::start(const Tensor& x, int bits) {
  float& exponent = log2_threshold.raw().mutable_data()[0];
  const float clip = nearest_clip(x, 0.5f, [&](float threshold) {
    exponent = std::log2(threshold);
    return on_grid(x, step(bits), range(bits));
  });
  exponent = clip > 0 ? std::log2(clip) : 0;
}

float TQTQuantization::normalized(double gradient) {
  if (!normalize_gradients_) return static_cast<float>(gradient);
  constexpr double kDecay = 0.999;
  const double count = gradient_count.item() + 1;
  const double square = kDecay * gradient_square.item() + (1 - kDecay) * gradient * gradient;
  gradient_count.set(Tensor::full({1}, static_cast<float>(count)));
  gradient_square.set(Tensor::full({1}, static_cast<float>(square)));
  return static_cast<float>(std::tanh(gradient / (std::sqrt(square / (1 - std::pow(kDecay, count))) + 1e-12)));
}

Tensor TQTQuantization::quantize(const Tensor& x, int bits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const QuantizedRange q = range(bits);
  const float s = step(bits);
  // What a ReLU would have set to zero has no gradient, though some of it would round to zero.
  const float low = role() == Role::rectified ? 0 : s * beyond(q.qmin, -kInfinity);
  const GridParameter threshold{
      log2_threshold(), [=, this](const GridSums& sums) {
        return normalized(std::numbers::ln2 * (sums.inside + s * (q.qmin * sums.below + q.qmax * sums.above)));
      }};
  return record_on_grid("tqt", x, on_grid(x, s, q), {low, s * beyond(q.qmax, kInfinity)}, {threshold});
}

// Config: {"class": "TQTQuantizer", "bits_activations": 8, "bits_weights": 8}
struct TQTConfig : LearnedQuantizerConfig {
  bool normalize_gradients = true;
};
void fields(Fields& v, TQTConfig& c) {
  fields(v, static_cast<LearnedQuantizerConfig&>(c));
  v("normalize_gradients", c.normalize_gradients,
    {.help = "divide threshold gradients by their root mean square, and limit them to +-1"});
}

class TQTQuantizer final : public LearnedQuantizer {
 public:
  explicit TQTQuantizer(const TQTConfig& config)
      : LearnedQuantizer(config, Rectifiers::unbounded_in_place), normalize_gradients_(config.normalize_gradients) {}

 protected:
  std::unique_ptr<LearnedQuantization> make(int bits, Role role) const override {
    return std::make_unique<TQTQuantization>(bits, role, normalize_gradients_);
  }

 private:
  bool normalize_gradients_;
};

const Registered<Quantizer, TQTQuantizer, TQTConfig> tqt{
    "TQTQuantizer", "in training: scales of powers of two by trained thresholds (Jain et al. 2019)"};

}  // namespace
}  // namespace qgrad
