// Grids whose parameters are learned (LSQ, TQT, APoT, PACT): the op with its gradients, and what the modules and
// quantizers have in common.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "core/kernels/quantize/quantize.h"
#include "quant/affine.h"
#include "quant/train/train_quantizer.h"

namespace qgrad {

// A parameter of a grid, [1], and its gradient as a function of the sums over all x.
struct GridParameter {
  Tensor value;
  std::function<float(const GridSums&)> gradient;
};

// Records y = Q(x), computed outside of the tape, as an op of x and the grid's parameters. x at and beyond the ends is
// on the outermost levels: its gradient is 0 there and dy between, or dy everywhere where `everywhere`. Sums are taken
// in blocks, in an order that depends on the size only.
struct GridEnds {
  float low, high;
  bool everywhere = false;
};
Tensor record_on_grid(std::string_view op, const Tensor& x, const Tensor& y, const GridEnds& ends,
                      const std::vector<GridParameter>& parameters);

// Of the clips max|x| * ratio^k, the one for which quantized(clip) has the least squared distance from x.
float nearest_clip(const Tensor& x, float ratio, const std::function<Tensor(float clip)>& quantized);

// The base of quantizations with learned parameters, whose limits keep them where they mean something. They start from
// the numbers that are quantized: weights when the model is prepared, activations at the first forward in training
// mode; and again when a schedule changes the bits. Evaluation before that throws.
class LearnedQuantization : public Quantization {
 public:
  std::string describe() const override;
  Role role() const { return role_; }
  void start_from(const Tensor& x);
  void forget_range() override;

 private:
  Role role_;

 public:
  Buffer started_for_bits;  // [1]; 0: not yet

 protected:
  LearnedQuantization(int bits, Role role);  // throws where the bits leave no level but zero
  Tensor quantized(const Tensor& x) final;
  virtual void start(const Tensor& x, int bits) = 0;
  virtual Tensor quantize(const Tensor& x, int bits) = 0;

  bool is_parameter() const { return role_ == Role::weights || role_ == Role::bias; }
  bool is_signed() const { return role_ != Role::positive && role_ != Role::rectified; }
  QuantizedRange range(int bits) const;  // signed or not, as the site wants
  // 1 / sqrt(N qmax): N weights, or features of one example (LSQ, section 2.2).
  float gradient_scale(const Tensor& x, float qmax) const;
};

struct LearnedQuantizerConfig : QuantAwareTrainConfig {
  float learned_lr_factor = 1;
  float learned_weight_decay = 0;
};
inline void fields(Fields& v, LearnedQuantizerConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("learned_lr_factor", c.learned_lr_factor,
    {.help = "learning rate of the grids' parameters, as a factor of the scheduled one", .min = 0, .max = 1e6});
  v("learned_weight_decay", c.learned_weight_decay, {.help = "their weight decay", .min = 0, .max = 1e6});
}

// Quantizes weights, and what activations give, each by what make() gives; where the inputs of
// layers are quantized, the model's inputs too. The grids' parameters are in the parameter group "learned".
class LearnedQuantizer : public TrainQuantizer {
 protected:
  LearnedQuantizer(const LearnedQuantizerConfig& config, Rectifiers rectifiers);
  virtual std::unique_ptr<LearnedQuantization> make(int bits, Role role) const = 0;

  std::unique_ptr<Quantization> weight(const Site&, const Parameter& parameter, int bits) final;
  std::unique_ptr<Quantization> activation(const Site&, const Activation& what, int bits) final;
  std::optional<ParamGroup> own_group() const final;

 private:
  LearnedQuantizerConfig learned_;
};

// Limits of steps and clips, far beyond what training can use.
inline constexpr float kSmallestStep = 1e-6f, kLargestStep = 1e6f;

}  // namespace qgrad
