// Following the range, and quantizing to it.
#include "quant/train/fake_quant.h"

#include <cmath>

#include "core/config.h"
#include "core/ops/fused.h"
#include "core/tape.h"
#include "quant/ranges/reductions.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// A bias-corrected moving average, in Distiller's float32 order. (range_linear.update_ema)
struct Average {
  float biased, tracked;
};
Average updated(float biased, float value, float decay, float step) {
  const float next = biased * decay + (1 - decay) * value;
  return {next, next / (1 - std::pow(decay, step))};
}

Tensor one(float value) { return Tensor::full({1}, value); }

ValueRange range_of(const Tensor& x) {
  auto* waiting = waiting_as<PendingNormalized>(x);
  if (!waiting) return over_ranks(min_max(x.data()), x.is_part());
  const auto [min, max] = waiting->range();
  return over_ranks({min, max}, x.is_part());
}

}  // namespace

FakeLinearQuantization::FakeLinearQuantization(const FakeQuantConfig& config)
    : Quantization(config.bits),
      config_(config),
      tracked_min_biased(buffer("tracked_min_biased", one(0))),
      tracked_min(buffer("tracked_min", one(0))),
      tracked_max_biased(buffer("tracked_max_biased", one(0))),
      tracked_max(buffer("tracked_max", one(0))),
      iter_count(buffer("iter_count", one(0))),
      scale(buffer("scale", one(1))),
      zero_point(buffer("zero_point", one(0))) {
  check(config.ema_decay >= 0 && config.ema_decay < 1,
        "fake quantization: expected an ema_decay of 0 to below 1, got {}", config.ema_decay);
  grid_from_range(config.bits, config.mode, -1, 1);  // checks the bits
}

std::string FakeLinearQuantization::describe() const {
  const std::string range = config_.clip == ClipMode::none ? fmt::format("ema_decay={}", config_.ema_decay)
                                                           : fmt::format("clip={}", enum_name(config_.clip));
  return fmt::format("bits={}, mode={}, {}{}", config_.bits, enum_name(config_.mode), range,
                     config_.clamp_integers ? "" : ", unclamped");
}

void FakeLinearQuantization::follow(const Tensor& x) {
  if (config_.clip != ClipMode::none) {
    if (has_range()) return;
    check(!x.is_part(), "fake quantization: one of several ranks can not measure clipped ranges; calibrate them");
    return set_range(range_from_tensor(x, settings(), Slices::samples)[0]);
  }
  const ValueRange current = range_of(x);
  check(std::isfinite(current.min) && std::isfinite(current.max),
        "fake quantization: the input ranges from {} to {}; has training diverged?", current.min, current.max);
  const float step = iter_count.item() + 1;
  const Average low = updated(tracked_min_biased.item(), current.min, config_.ema_decay, step);
  const Average high = updated(tracked_max_biased.item(), current.max, config_.ema_decay, step);
  iter_count.set(one(step));
  tracked_min_biased.set(one(low.biased));
  tracked_min.set(one(low.tracked));
  tracked_max_biased.set(one(high.biased));
  tracked_max.set(one(high.tracked));
}

std::optional<ValueRange> FakeLinearQuantization::narrower_range() const {
  const ValueRange range{tracked_min.item(), tracked_max.item()};
  const bool holds_zero =
      std::nearbyint(range.min * scale.item()) <= 0 && std::nearbyint(range.max * scale.item()) >= 0;
  return is_symmetric(config_.mode) || holds_zero ? std::nullopt : std::optional(range);
}

void FakeLinearQuantization::set_range(const ValueRange& range) {
  for (Buffer* b : {&tracked_min, &tracked_min_biased}) b->set(one(range.min));
  for (Buffer* b : {&tracked_max, &tracked_max_biased}) b->set(one(range.max));
  iter_count.set(one(config_.ema_decay > 0 ? std::ceil(std::log(1e-8f) / std::log(config_.ema_decay)) : 1));
  update_grid();
}

void FakeLinearQuantization::start_from(const TensorStats& stats) { set_range(range_from_stats(stats, settings())); }

QuantSettings FakeLinearQuantization::settings() const {
  return {.bits = bits().value_or(own_bits()),
          .mode = config_.mode,
          .clip = config_.clip,
          .n_stds = config_.clip_n_stds,
          .percentile = config_.clip_percentile};
}

void FakeLinearQuantization::update_grid() {
  const Grid grid = grid_from_range(bits().value_or(own_bits()), config_.mode, tracked_min.item(), tracked_max.item());
  scale.set(one(grid.scale));
  zero_point.set(one(grid.zero_point));
}

void FakeLinearQuantization::forget_range() {
  for (Buffer* b : {&iter_count, &tracked_min_biased, &tracked_max_biased}) b->set(one(0));
}

Tensor FakeLinearQuantization::quantized(const Tensor& x) {
  if (training() && !frozen()) follow(x);
  if (!bits()) return x;
  // A graph can be traced before there is a range; the values do not matter then.
  if (!has_range() && Tape::is_tracing()) return linear_quantize_ste(x, {});
  check(has_range(),
        "fake quantization: no range yet, since no training step was made and no checkpoint loaded; run at least one "
        "forward pass in training mode first");
  update_grid();
  ValueRange range{tracked_min.item(), tracked_max.item()};
  if (is_symmetric(config_.mode)) range = {-range.max_abs(), range.max_abs()};
  ChannelGrid grid({scale.item()}, {zero_point.item()});
  if (config_.clamp_integers) grid.integers = quantized_range(*bits(), config_.mode);
  return linear_quantize_ste(x, grid, {.saturation = range, .dequantize = config_.dequantize});
}

void measure_ranges_again(Module& model, const std::function<void()>& run) {
  const EvaluationMode evaluation(model);
  std::vector<FakeLinearQuantization*> frozen;
  visit_modules<FakeLinearQuantization>(model, [&](FakeLinearQuantization& range) {
    if (range.frozen()) frozen.push_back(&range);
    range.set_frozen(false);
    range.forget_range();
    range.set_training(true);
  });
  run();
  for (FakeLinearQuantization* range : frozen) range->set_frozen(true);
}

}  // namespace qgrad
