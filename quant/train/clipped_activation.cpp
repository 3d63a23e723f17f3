// The two clips, and which activations they fit.
#include "quant/train/clipped_activation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

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
  float act_clip_val = 1;
};
void fields(Fields& v, FixedClipSettings& s) { v("act_clip_val", s.act_clip_val, {.min = 0.001, .max = 1e6}); }

// clamp(x, low, high) on the grid that ends there; the gradient is that of the clamp, ends included.
Tensor clip_and_quantize(const Tensor& x, const Clip& clip) {
  if (!clip.bits) return clamp(x, clip.low, clip.high);
  const auto mode = clip.low < 0 ? LinearQuantMode::symmetric_restricted : LinearQuantMode::asymmetric_unsigned;
  const Grid grid = params_from_range(*clip.bits, mode, clip.low, clip.high);
  return linear_quantize_ste(x, {{grid.scale}, {grid.zero_point}},
                             {.integers = quantized_range(*clip.bits, mode),
                              .saturation = ValueRange{clip.low, clip.high},
                              .dequantize = clip.dequantize});
}

}  // namespace

ClippedLinearQuantization::ClippedLinearQuantization(const ClippedLinearConfig& config)
    : Quantization(config.bits), config_(config) {
  check_clip(config.bits, config.clip_val, config.is_signed);
}

std::string ClippedLinearQuantization::describe() const {
  return fmt::format("bits={}, clip_val={}{}", own_bits(), config_.clip_val, config_.is_signed ? ", signed" : "");
}

Tensor ClippedLinearQuantization::forward(const Tensor& x) {
  return clip_and_quantize(x, {.bits = bits(),
                               .low = config_.is_signed ? -config_.clip_val : 0,
                               .high = config_.clip_val,
                               .dequantize = config_.dequantize});
}

LearnedClippedLinearQuantization::LearnedClippedLinearQuantization(int bits, float initial_clip_val, bool is_signed)
    : Quantization(bits), clip_val(parameter("clip_val", Tensor::full({1}, initial_clip_val))), is_signed_(is_signed) {
  check_clip(bits, initial_clip_val, is_signed);
  clip_val.set_limits({.low = kSmallestClip});
}

std::string LearnedClippedLinearQuantization::describe() const {
  return fmt::format("bits={}, clip_val={}{}", own_bits(), clip_val.raw().item(), is_signed_ ? ", signed" : "");
}

Tensor LearnedClippedLinearQuantization::forward(const Tensor& x) {
  const float clip = clip_val.raw().item();
  check(std::isfinite(clip) && clip >= kSmallestClip,
        "learned clip: the clipping value is {}, expected {} or more; has training diverged?", clip, kSmallestClip);
  const float low = is_signed_ ? -clip : 0;
  Tensor y;
  {
    const Tape::Paused paused;  // one pass, with a gradient of its own
    y = clip_and_quantize(x, {.bits = bits(), .low = low, .high = clip});
  }
  const auto gradient = [below = is_signed_ ? 1 : 0](const GridSums& sums) {
    return static_cast<float>(sums.above - below * sums.below);
  };
  return record_on_grid("learned_clip", x, y, {.low = low, .high = clip}, {{clip_val(), gradient}});
}

std::unique_ptr<Quantization> clip_at_own_bound(const Activation& what, int bits) {
  if (what.role != Role::any_sign || what.largest == Limits().high) return nullptr;
  return std::make_unique<ClippedLinearQuantization>(
      ClippedLinearConfig{.bits = bits, .clip_val = what.largest, .is_signed = true});
}

FixedClipQuantizer::FixedClipQuantizer(const FixedClipConfig& config)
    : TrainQuantizer(config), act_clip_val_(config.act_clip_val) {
  quantize_activations(Rectifiers::in_place, keys_of<FixedClipSettings>());
}

std::unique_ptr<Quantization> FixedClipQuantizer::activation(const Site& site, const Activation& what, int bits) {
  if (auto clip = clip_at_own_bound(what, bits)) return clip;
  const auto settings = site.settings_onto(FixedClipSettings{act_clip_val_});
  return std::make_unique<ClippedLinearQuantization>(
      ClippedLinearConfig{.bits = bits,
                          .clip_val = std::min(settings.act_clip_val, what.largest),
                          .is_signed = what.role == Role::any_sign});
}

}  // namespace qgrad
