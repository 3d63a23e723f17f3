// Activations clipped to [0, clip] and quantized to it: a fixed clip, one that is learned (PACT), and the base of
// quantizers with fixed ones.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "quant/train/train_quantizer.h"

namespace qgrad {

// y = clamp(x, 0, clip_val), quantized without sign: scale (2^bits - 1) / clip_val, zero point 0. The gradient is 1
// within [0, clip_val], ends included, else 0. (Distiller clipped_linear.ClippedLinearQuantization)
// With both signs: clamp(x, -clip_val, clip_val), scale (2^(bits-1) - 1) / clip_val.
// When a schedule takes the bits away, values are clipped all the same.
struct ClippedLinearConfig {
  int bits = 8;
  float clip_val = 1;
  bool is_signed = false;
  bool dequantize = true;  // false: the result is the integers; the gradient stays the same
};
class ClippedLinearQuantization final : public Quantization {
 public:
  // Throws unless clip_val is positive, and where a sign leaves no bits for levels.
  explicit ClippedLinearQuantization(const ClippedLinearConfig& config);
  std::string_view kind() const override { return "ClippedLinearQuantization"; }
  std::string describe() const override;

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  ClippedLinearConfig config_;
};

// The same with a learned clip:
//   dL/dx = dL/dy where 0 < x < clip, else 0;  dL/dclip = sum of dL/dy where x >= clip
// With both signs: dL/dx = dL/dy where |x| < clip; what comes from x <= -clip is taken off the sum.
// A step of the optimizer could take the parameter below zero, where no grid exists: it stops at kSmallestClip, from
// where it can grow again.
// (Distiller clipped_linear.LearnedClippedLinearQuantization; Choi et al., "PACT: Parameterized Clipping Activation for
// Quantized Neural Networks", 2018, eq. 1 to 3)
class LearnedClippedLinearQuantization final : public Quantization {
 public:
  static constexpr float kSmallestClip = 1e-3f;

  // Throws unless the clip is positive, and where a sign leaves no bits for levels.
  LearnedClippedLinearQuantization(int bits, float initial_clip_val, bool is_signed = false);
  std::string_view kind() const override { return "LearnedClippedLinearQuantization"; }
  std::string describe() const override;

  Parameter clip_val;  // [1]

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  bool is_signed_;
};

// Clips take the place of rectifiers, and come behind other activations. Numbers of both signs with a bound of their
// own, as those of Tanh, get a fixed clip there, which has no settings; null for all others.
std::unique_ptr<Quantization> clip_at_own_bound(const Activation& what, int bits);

// What quantizers with fixed clips have in their configs. In a network of batch norms and ReLUs, a clip of c is the
// same as one of 1 on activations that are all divided by c.
struct FixedClipConfig : QuantAwareTrainConfig {
  float act_clip_val = 1;
};
inline void fields(Fields& v, FixedClipConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("act_clip_val", c.act_clip_val,
    {.help = "activations are clipped to [0, act_clip_val]; the paper has 1", .min = 0.001, .max = 1e6});
}

// Clips at act_clip_val, or at the activation's own bound where that is lower (6 for a ReLU6). Overrides of what is
// quantized also take "act_clip_val".
class FixedClipQuantizer : public TrainQuantizer {
 protected:
  explicit FixedClipQuantizer(const FixedClipConfig& config);
  std::unique_ptr<Quantization> activation(const Site& site, const Activation& what, int bits) final;

 private:
  float act_clip_val_;
};

}  // namespace qgrad
