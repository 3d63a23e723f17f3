// The two clips, and which activations they fit.
#include "quant/train/clipped_activation.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops.h"
#include "core/tape.h"
#include "quant/train/fake_quant.h"
#include "quant/train/learned_grid.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

void check_clip(int bits, float clip, bool is_signed) {
  check(clip > 0 && std::isfinite(clip), "clipped quantization: expected a positive clipping value, got {}", clip);
  quantized_range(bits, LinearQuantMode::asymmetric_unsigned);  // checks the bits
  check(!is_signed || bits > 1,
        "clipped quantization: 1 bit has no level but zero beside a sign, expected 2 bits or more");
}

struct Clip {
  std::optional<int> bits;  // none: clipped only
  float low = 0, high = 1;
  bool dequantize = true;
};

struct FixedClipSettings {
  std::optional<float> act_clip_val;
};
void fields(Fields& v, FixedClipSettings& s) { v("act_clip_val", s.act_clip_val, {.min = 0.001, .max = 1e6}); }

const Limits kClipLimits{.low = LearnedClippedLinearQuantization::kSmallestClip};

// Until it is measured, one that means nothing.
float first_clip(const ClipStart& start) { return std::min(start.clip_val.value_or(1), start.bound); }

// clamp(x, low, high) on the grid that ends there; the gradient is that of the clamp, ends included.
Tensor clip_and_quantize(const Tensor& x, const Clip& clip) {
  if (!clip.bits) return clamp(x, clip.low, clip.high);
  const auto mode = clip.low < 0 ? LinearQuantMode::symmetric_restricted : LinearQuantMode::asymmetric_unsigned;
  const Grid grid = grid_from_range(*clip.bits, mode, clip.low, clip.high);
  return linear_quantize_ste(x, grid, {.saturation = ValueRange{clip.low, clip.high}, .dequantize = clip.dequantize});
}

}  // namespace

ClippedQuantization::ClippedQuantization(int bits, const ClipStart& start, bool is_signed)
    : Quantization(bits), is_signed_(is_signed), bound_(start.bound) {
  check_clip(bits, first_clip(start), is_signed);
  if (!start.clip_val) measured_.emplace(*this, "measured", Tensor::zeros({1}));
}

std::string ClippedQuantization::describe() const {
  const std::string value = has_clip() ? fmt::format("{}", clip()) : "not measured yet";
  return fmt::format("bits={}, clip_val={}{}", own_bits(), value, is_signed_ ? ", signed" : "");
}

void ClippedQuantization::forget_range() {
  if (measured_) measured_->set(Tensor::zeros({1}));
}

void ClippedQuantization::measure(const Tensor& x) {
  const Tape::Paused paused;
  const Tensor seen = is_signed_ ? x : relu(x);
  const float nearest = nearest_clip(seen, 0.85f, [&](float c) {
    return clip_and_quantize(seen, {.bits = bits().value_or(own_bits()), .low = is_signed_ ? -c : 0, .high = c});
  });
  set_clip(std::min(nearest > 0 ? std::max(nearest, kClipLimits.low) : 1, bound_));
  measured_->set(Tensor::full({1}, 1));
}

Tensor ClippedQuantization::quantized(const Tensor& x) {
  if (training() && !has_clip()) measure(x);
  check(has_clip() || Tape::is_tracing(),
        "clipped quantization: no clip yet, since no training step was made and no checkpoint loaded; run at least one "
        "forward pass in training mode first, or give a clip");
  return clipped(x);
}

ClippedLinearQuantization::ClippedLinearQuantization(const ClippedLinearConfig& config)
    : ClippedQuantization(config.bits, config.start, config.is_signed),
      clip_val(buffer("clip_val", Tensor::full({1}, first_clip(config.start)))),
      dequantize_(config.dequantize) {
  clip_val.set_limits(kClipLimits);
}

Tensor ClippedLinearQuantization::clipped(const Tensor& x) {
  return clip_and_quantize(x, {.bits = bits(), .low = low(), .high = clip(), .dequantize = dequantize_});
}

LearnedClippedLinearQuantization::LearnedClippedLinearQuantization(int bits, const ClipStart& start, bool is_signed)
    : ClippedQuantization(bits, start, is_signed),
      clip_val(parameter("clip_val", Tensor::full({1}, first_clip(start)))) {
  clip_val.set_limits(kClipLimits);
}

Tensor LearnedClippedLinearQuantization::clipped(const Tensor& x) {
  const float clip = this->clip();
  check(std::isfinite(clip) && clip >= kSmallestClip,
        "learned clip: the clipping value is {}, expected {} or more; has training diverged?", clip, kSmallestClip);
  Tensor y;
  {
    const Tape::Paused paused;  // one pass, with a gradient of its own
    y = clip_and_quantize(x, {.bits = bits(), .low = low(), .high = clip});
  }
  const auto gradient = [below = low() < 0 ? 1 : 0](const GridSums& sums) {
    return static_cast<float>(sums.above - below * sums.below);
  };
  return record_on_grid("learned_clip", x, y, {.low = low(), .high = clip}, {{clip_val(), gradient}});
}

std::unique_ptr<Quantization> clip_at_own_bound(const Activation& what, int bits) {
  if (what.role != Role::any_sign || what.largest == Limits().high) return nullptr;
  return std::make_unique<ClippedLinearQuantization>(
      ClippedLinearConfig{.bits = bits, .start = {what.largest}, .is_signed = true});
}

FixedClipQuantizer::FixedClipQuantizer(const FixedClipConfig& config)
    : TrainQuantizer(config), act_clip_val_(config.act_clip_val) {
  quantize_activations(Rectifiers::in_place, keys_of<FixedClipSettings>());
}

std::unique_ptr<Quantization> FixedClipQuantizer::activation(const Site& site, const Activation& what, int bits) {
  if (auto clip = clip_at_own_bound(what, bits)) return clip;
  const auto settings = site.settings_onto(FixedClipSettings{act_clip_val_});
  return std::make_unique<ClippedLinearQuantization>(ClippedLinearConfig{
      .bits = bits, .start = {settings.act_clip_val, what.largest}, .is_signed = what.role == Role::any_sign});
}

}  // namespace qgrad
