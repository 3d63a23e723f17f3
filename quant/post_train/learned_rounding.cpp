// The objective's operations, and the optimisation of one layer.
#include "quant/post_train/learned_rounding.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/ops.h"
#include "core/random.h"
#include "core/tape.h"
#include "nn/optim/adam.h"
#include "quant/post_train/samples.h"

namespace qgrad {
namespace {

// The rectified sigmoid h(v) and its derivative.
constexpr float kStretch = 1.2f, kShift = -0.1f;

struct Rectified {
  float value, derivative;
};
Rectified rectified_sigmoid(float v) {
  const float sigmoid = 1 / (1 + std::exp(-v)), stretched = kStretch * sigmoid + kShift;
  if (stretched <= 0) return {0, 0};
  if (stretched >= 1) return {1, 0};
  return {stretched, kStretch * sigmoid * (1 - sigmoid)};
}

// The v with h(v) = fraction.
float inverse(float fraction) {
  const float sigmoid = (fraction - kShift) / kStretch;
  return std::log(sigmoid / (1 - sigmoid));
}

// scale w - zero_point, before rounding.
Tensor in_steps(const Tensor& weight, const ChannelGrid& grid) {
  Tensor steps = weight.clone();
  const std::span<float> w = steps.mutable_data();
  for (size_t i = 0; i < w.size(); ++i) {
    const size_t c = i % grid.scale.size();
    w[i] = grid.scale[c] * w[i] - grid.zero_point[c];
    check(std::isfinite(w[i]), "learned rounding: a weight is not finite on its grid");
  }
  return steps;
}

// Owns V, so that an optimizer can step it.
class RoundingVariable final : public UnaryModule {
 public:
  explicit RoundingVariable(Tensor initial) : v(parameter("v", std::move(initial))) {}
  std::string_view kind() const override { return "RoundingVariable"; }
  Parameter v;

 protected:
  Tensor forward(const Tensor& x) override { return x; }
};

}  // namespace

Tensor softly_rounded(const Tensor& v, const SoftRounding& rounding) {
  Tensor w = Tensor::empty(v.shape()), slope = Tensor::empty(v.shape());
  const std::span<const float> vs = v.data(), floors = rounding.floors.data();
  const std::span<float> out = w.mutable_data(), slopes = slope.mutable_data();
  const auto& [scales, zero_points, integers] = rounding.grid;
  const size_t channels = scales.size();
  for (size_t i = 0; i < vs.size(); ++i) {
    const Rectified h = rectified_sigmoid(vs[i]);
    const float q = floors[i] + h.value, scale = scales[i % channels];
    const bool inside = q >= integers.qmin && q <= integers.qmax;
    out[i] = (std::clamp(q, integers.qmin, integers.qmax) + zero_points[i % channels]) / scale;
    slopes[i] = inside ? h.derivative / scale : 0;
  }
  return record("softly_rounded", w, {v}, [slope](const Tensor& dy, Grads& dx) { dx.add(0, mul(dy, slope)); });
}

Tensor rounding_penalty(const Tensor& v, float beta) {
  Tensor slope = Tensor::empty(v.shape());
  const std::span<const float> vs = v.data();
  const std::span<float> slopes = slope.mutable_data();
  double total = 0;
  for (size_t i = 0; i < vs.size(); ++i) {
    const Rectified h = rectified_sigmoid(vs[i]);
    const float off_middle = 2 * h.value - 1, power = std::pow(std::fabs(off_middle), beta - 1);
    total += 1 - power * std::fabs(off_middle);
    slopes[i] = -2 * beta * std::copysign(power, off_middle) * h.derivative;
  }
  return record("rounding_penalty", Tensor::scalar(static_cast<float>(total)), {v},
                [slope](const Tensor& dy, Grads& dx) { dx.add(0, mul_scalar(slope, dy.item())); });
}

void learn_rounding(RangeLinearQuantParamLayerWrapper& layer, const Tensor& float_weight, const LayerSamples& samples,
                    const LearnedRoundingConfig& config) {
  check(!samples.inputs.empty(), "learned rounding: no samples");
  const ChannelGrid grid = layer.weight().grid();
  const SoftRounding rounding{in_steps(float_weight, grid), grid};
  Tensor floors = rounding.floors, initial = Tensor::empty(floors.shape());
  for (size_t i = 0; i < floors.data().size(); ++i) {
    float& value = floors.mutable_data()[i];
    const float fraction = value - std::floor(value);
    value -= fraction;
    initial.mutable_data()[i] = inverse(fraction);
  }

  std::vector<Tensor> arriving;
  for (const Tensor& x : samples.inputs) arriving.push_back(layer.as_computed_on(x));
  const Samples inputs(arriving, "learned rounding"), outputs(samples.outputs, "learned rounding");
  check(inputs.size() == outputs.size(), "learned rounding: {} inputs, but {} outputs", inputs.size(), outputs.size());
  RoundingVariable variable(initial);
  Adam optimizer(AdamConfig{.lr = config.lr});
  optimizer.add_param_group({.name = "default", .parameters = {&variable.v}});
  RandomStream random(config.seed, "learned rounding of " + layer.path());
  std::vector<uint32_t> positions(static_cast<size_t>(config.batch_size));
  const auto warm_up = static_cast<int>(config.warm_up * static_cast<float>(config.iterations));
  Tape tape;
  for (int i = 0; i < config.iterations; ++i) {
    for (uint32_t& position : positions) position = random.below(static_cast<uint32_t>(inputs.size()));
    const Tensor target = layer.activated(outputs.gather(positions));
    {
      const Tape::Recording recording(tape);
      const Tensor weight = softly_rounded(variable.v(), rounding);
      const Tensor y = layer.activated(layer.run(inputs.gather(positions), weight, layer.bias()));
      Tensor loss = mul_scalar(mean(square(sub(y, target))), static_cast<float>(y.dim(-1)));
      if (i >= warm_up) {
        const float progress = static_cast<float>(i - warm_up) / static_cast<float>(config.iterations - warm_up);
        const float beta = config.beta_start + (config.beta_end - config.beta_start) * progress;
        loss = add(loss, mul_scalar(rounding_penalty(variable.v(), beta), config.regularization));
      }
      tape.backward(loss);
    }
    optimizer.step();
    optimizer.zero_grad();
  }

  Tensor q = Tensor::empty(floors.shape());
  for (size_t i = 0; i < q.data().size(); ++i) {
    const float up = rectified_sigmoid(variable.v.raw().data()[i]).value >= 0.5f ? 1 : 0;
    q.mutable_data()[i] = std::clamp(floors.data()[i] + up, grid.integers.qmin, grid.integers.qmax);
  }
  layer.weight().set_q(std::move(q));
}

}  // namespace qgrad
