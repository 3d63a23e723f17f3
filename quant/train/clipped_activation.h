// Activations clipped to [0, clip] and quantized to it: a clip that stays, one that is learned (PACT), and the base of
// quantizers with the former.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quant/train/train_quantizer.h"

namespace qgrad {

// What fixed and learned clips have in common: where they start, and that values are clipped too when a schedule takes
// the bits away. A clip that is not given is measured at the first forward in training mode: of the clips
// max|x| * 0.85^k, the one with the least square error of what is quantized, but at most `bound`. Evaluation before
// that throws.
struct ClipStart {
  std::optional<float> clip_val;
  float bound = Limits().high;  // that the activation has by itself
};
class ClippedQuantization : public Quantization {
 public:
  std::string describe() const override;
  void forget_range() override;

 protected:
  // Throws unless a given clip is positive, and where a sign leaves no bits for levels.
  ClippedQuantization(int bits, const ClipStart& start, bool is_signed);
  Tensor quantized(const Tensor& x) final;
  virtual float clip() const = 0;
  virtual void set_clip(float clip) = 0;
  virtual Tensor clipped(const Tensor& x) = 0;
  float low() const { return is_signed_ ? -clip() : 0; }

 private:
  bool has_clip() const { return !measured_ || measured_->item() > 0; }
  void measure(const Tensor& x);

  bool is_signed_;
  float bound_;
  std::optional<Buffer> measured_;  // [1], 1 as soon as the clip is; none where it is given
};

// y = clamp(x, 0, clip_val), quantized without sign: scale (2^bits - 1) / clip_val, zero point 0. The gradient is 1
// within [0, clip_val], ends included, else 0. (Distiller clipped_linear.ClippedLinearQuantization)
// With both signs: clamp(x, -clip_val, clip_val), scale (2^(bits-1) - 1) / clip_val.
struct ClippedLinearConfig {
  int bits = 8;
  ClipStart start;
  bool is_signed = false;
  bool dequantize = true;  // false: the result is the integers; the gradient stays the same
};
class ClippedLinearQuantization final : public ClippedQuantization {
 public:
  explicit ClippedLinearQuantization(const ClippedLinearConfig& config);
  std::string_view kind() const override { return "ClippedLinearQuantization"; }

  Buffer clip_val;  // [1]

 protected:
  float clip() const override { return clip_val.item(); }
  void set_clip(float clip) override { clip_val.set(Tensor::full({1}, clip)); }
  Tensor clipped(const Tensor& x) override;

 private:
  bool dequantize_;
};

// The same with a learned clip:
//   dL/dx = dL/dy where 0 < x < clip, else 0;  dL/dclip = sum of dL/dy where x >= clip
// With both signs: dL/dx = dL/dy where |x| < clip; what comes from x <= -clip is taken off the sum.
// A step of the optimizer could take the parameter below zero, where no grid exists: it stops at kSmallestClip, from
// where it can grow again.
// (Distiller clipped_linear.LearnedClippedLinearQuantization; Choi et al., "PACT: Parameterized Clipping Activation for
// Quantized Neural Networks", 2018, eq. 1 to 3)
class LearnedClippedLinearQuantization final : public ClippedQuantization {
 public:
  static constexpr float kSmallestClip = 1e-3f;

  LearnedClippedLinearQuantization(int bits, const ClipStart& start, bool is_signed = false);
  std::string_view kind() const override { return "LearnedClippedLinearQuantization"; }

  Parameter clip_val;  // [1]

 protected:
  float clip() const override { return clip_val.raw().item(); }
  void set_clip(float clip) override { clip_val.raw().mutable_data()[0] = clip; }
  Tensor clipped(const Tensor& x) override;
};

// Clips take the place of rectifiers, and come behind other activations. Numbers of both signs with a bound of their
// own, as those of Tanh, get a fixed clip there, which has no settings; null for all others.
std::unique_ptr<Quantization> clip_at_own_bound(const Activation& what, int bits);

// What quantizers with fixed clips have in their configs. In a network of batch norms and ReLUs, a clip of c is the
// same as one of 1 on activations that are all divided by c.
struct FixedClipConfig : QuantAwareTrainConfig {
  std::optional<float> act_clip_val;
};
inline void fields(Fields& v, FixedClipConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("act_clip_val", c.act_clip_val,
    {.help = "activations are clipped to [0, act_clip_val], 1 in the paper; null: where the first batch is quantized "
             "with the least square error",
     .min = 0.001,
     .max = 1e6});
}

// Clips at act_clip_val, or at the activation's own bound where that is lower (6 for a ReLU6). Overrides of what is
// quantized also take "act_clip_val".
class FixedClipQuantizer : public TrainQuantizer {
 protected:
  explicit FixedClipQuantizer(const FixedClipConfig& config);
  std::unique_ptr<Quantization> activation(const Site& site, const Activation& what, int bits) final;

 private:
  std::optional<float> act_clip_val_;
};

}  // namespace qgrad
