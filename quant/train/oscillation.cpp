// Levels before and after a step.
#include "quant/train/oscillation.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>

#include "core/error.h"
#include "core/tape.h"

namespace qgrad {
namespace {

constexpr const char* kSection = "train.oscillations";

// Whole numbers, or halves where levels lie around zero.
Tensor in_steps(const Tensor& quantized, const std::vector<float>& steps) {
  Tensor levels = quantized.clone();
  const std::span<float> values = levels.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::nearbyint(2 * values[i] * steps[i % steps.size()]) / 2;
  return levels;
}

Tensor quantized(const Parameter& parameter) {
  const Tape::Paused paused;
  return parameter();
}

}  // namespace

const std::array<std::pair<const char*, Tensor Oscillations::Followed::*>, 4> Oscillations::kKept{
    {{"frequency", &Followed::frequency},
     {"direction", &Followed::direction},
     {"average", &Followed::average},
     {"frozen", &Followed::frozen}}};

Oscillations::Oscillations(const OscillationConfig& config, Module& model) : config_(config) {
  check(config.dampening > 0 || config.freeze_above, "{}: neither dampening nor freeze_above is given", kSection);
  check(config.freeze_above || !config.freeze_above_at_first,
        "{}: freeze_above_at_first is {}, but freeze_above is not given", kSection,
        config.freeze_above_at_first.value_or(0));
  for (Parameter* parameter : all_parameters(model)) {
    const auto* quantization = parameter->transform_slot().as<Quantization>();
    if (!quantization || is_bias(*parameter)) continue;
    // Evenly spaced levels, of which each weight has the nearest.
    const Tensor now = quantized(*parameter);
    if (!quantization->steps_per_unit(now).empty() && quantization->grid(now))
      weights_.push_back({parameter, quantization});
  }
  check(!weights_.empty(), "{}: the model has no weights on the nearest of evenly spaced levels", kSection);
}

float Oscillations::along_cosine(float from, float to) const {
  return static_cast<float>(to + (from - to) * 0.5 * (1 + std::cos(std::numbers::pi * progress_)));
}

void Oscillations::before_step() {
  for (Followed& weight : weights_) {
    weight.before = {};
    if (weight.quantization->bits() != weight.quantization->own_bits() || !weight.parameter->raw().grad().defined())
      continue;
    const Tensor levels = quantized(*weight.parameter);
    const std::vector<float> steps = weight.quantization->steps_per_unit(levels);
    if (config_.dampening > 0) dampen(*weight.parameter, levels, steps);
    if (config_.freeze_above) weight.before = in_steps(levels, steps);
  }
}

void Oscillations::dampen(Parameter& weights, const Tensor& quantized, const std::vector<float>& steps) const {
  constexpr float kHalf = 0.5001f;  // beyond which a weight is outside of all levels
  const float strength = 2 * along_cosine(0, config_.dampening);
  Tensor gradient = weights.raw().grad().clone();
  const std::span<float> to = gradient.mutable_data();
  const std::span<const float> w = weights.raw().data(), q = quantized.data();
  for (size_t i = 0; i < to.size(); ++i)
    if (const float distance = w[i] - q[i]; std::fabs(distance) * steps[i % steps.size()] < kHalf)
      to[i] += strength * distance;
  weights.raw().set_grad(std::move(gradient));
}

void Oscillations::after_step() {
  if (!config_.freeze_above) return;
  const float threshold =
      along_cosine(config_.freeze_above_at_first.value_or(*config_.freeze_above), *config_.freeze_above);
  for (Followed& weight : weights_)
    if (weight.before.defined()) follow(weight, threshold);
}

void Oscillations::follow(Followed& weight, float threshold) const {
  Tensor& raw = weight.parameter->raw();
  const Tensor now = quantized(*weight.parameter);
  const std::vector<float> steps = weight.quantization->steps_per_unit(now);
  const Tensor levels = in_steps(now, steps);
  if (!weight.frequency.defined()) {
    weight.average = weight.before.clone();
    for (Tensor* kept : {&weight.frequency, &weight.direction, &weight.frozen}) *kept = Tensor::zeros(raw.shape());
  }
  const std::span<const float> before = weight.before.data(), after = levels.data();
  const std::span<float> w = raw.mutable_data(), frequency = weight.frequency.mutable_data(),
                         direction = weight.direction.mutable_data(), average = weight.average.mutable_data(),
                         frozen = weight.frozen.mutable_data();
  const float m = config_.momentum;
  for (size_t i = 0; i < w.size(); ++i) {
    if (frozen[i] == 0) {
      const float change = after[i] - before[i], way = change > 0 ? 1.0f : change < 0 ? -1.0f : 0.0f;
      frequency[i] = (1 - m) * frequency[i] + (way * direction[i] < 0 ? m : 0);
      if (way != 0) direction[i] = way;
      average[i] = (1 - m) * average[i] + m * after[i];
      if (frequency[i] <= threshold) continue;
      frozen[i] = 1;
      average[i] = after[i] + std::nearbyint(average[i] - after[i]);
    }
    w[i] = average[i] / steps[i % steps.size()];
  }
}

std::map<std::string, Tensor> Oscillations::state() const {
  std::map<std::string, Tensor> all;
  for (const Followed& weight : weights_)
    for (const auto& [name, kept] : kKept)
      if ((weight.*kept).defined()) all[weight.parameter->path() + "." + name] = (weight.*kept).clone();
  return all;
}

void Oscillations::load_state(const std::map<std::string, Tensor>& state) {
  size_t taken = 0;
  for (Followed& weight : weights_)
    for (const auto& [name, kept] : kKept) {
      const auto found = state.find(weight.parameter->path() + "." + name);
      weight.*kept = {};
      if (found == state.end()) continue;
      const Shape& shape = weight.parameter->raw().shape();
      check(found->second.shape() == shape, "{}: state {} wants shape {}, got {}", kSection, found->first, shape,
            found->second.shape());
      weight.*kept = found->second.clone();
      ++taken;
    }
  check(taken == state.size() && taken % kKept.size() == 0,
        "{}: the state has {} tensors, of which {} are of weights that are followed here, {} of each", kSection,
        state.size(), taken, kKept.size());
}

double Oscillations::frozen_percent() const {
  double frozen = 0, all = 0;
  for (const Followed& weight : weights_) {
    all += static_cast<double>(weight.parameter->raw().numel());
    if (weight.frozen.defined()) frozen += std::ranges::count(weight.frozen.data(), 1.0f);
  }
  return 100 * frozen / all;
}

}  // namespace qgrad
