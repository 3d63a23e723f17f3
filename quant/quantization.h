// What quantizes a tensor in training, and what a schedule may change about it as training goes on.
#pragma once

#include <optional>
#include <vector>

#include "nn/module.h"
#include "quant/affine.h"

namespace qgrad {

// Where a quantization stands.
enum class Role {
  weights,    // a parameter's transform
  bias,       // the same, of numbers that are no weights
  positive,   // behind an activation that has no negative values
  rectified,  // in the place of a ReLU, which it computes too
  any_sign,   // behind an activation that has both signs
  input,      // of the model, both signs: its zero, with which convolutions pad, is a level
};

// Whether a parameter has bits_bias; all others of layers of weighted sums have bits_weights.
inline bool is_bias(const Parameter& parameter) { return parameter.name().ends_with("bias"); }

// Numbers become values[i] above thresholds[i - 1], up to and with thresholds[i]; both ascend.
struct Levels {
  std::vector<float> values, thresholds;
  void stop_at(float cap);  // numbers beyond become what the cap does
};
Tensor on_levels(const Tensor& x, const Levels& levels, float clip = 1);  // of x / clip, times clip; not recorded

// The base of what stands on a parameter (its transform) or on an activation. A schedule asks for nothing else, so a
// class outside of the tree takes part by deriving from it. What a schedule sets is not saved: it says it again, and
// ends at own_bits().
class Quantization : public UnaryModule {
 public:
  int own_bits() const { return own_bits_; }         // the config's
  std::optional<int> bits() const { return bits_; }  // now; none: values keep all their digits
  void set_bits(std::optional<int> bits) { bits_ = bits; }

  // Frozen, the parameters of this module get no gradient, so that neither gradients nor momentum nor weight decay
  // change them. A class that follows ranges by itself asks frozen() before it does.
  bool frozen() const { return frozen_; }
  virtual void set_frozen(bool frozen);
  // How much gradients know of the distance to the level, see train/gradient_scaling.h; 0: nothing.
  void set_gradient_scaling(float strength) { gradient_scaling_ = strength; }
  // The next training forward begins with a new range or grid, where that comes from the numbers that are quantized.
  virtual void forget_range() {}

  // Evenly spaced points on which quantized numbers, as this gave them, lie; not each of these need be a level. None
  // where nothing is known of them: export then looks for a scale that the numbers have.
  virtual std::optional<ChannelGrid> grid(const Tensor& quantized) const;
  // Steps in 1 between two levels, one number or one for each channel; none where what this gives is not the nearest of
  // evenly spaced levels.
  virtual std::vector<float> steps_per_unit(const Tensor& quantized) const;
  // What an activation can be, where levels or thresholds are not evenly spaced; else nothing.
  virtual Levels levels() const { return {}; }
  // Where the range ends within the grid, as one that is followed and does not hold zero: what is beyond is cut off.
  virtual std::optional<ValueRange> narrower_range() const { return std::nullopt; }

 protected:
  explicit Quantization(int own_bits) : own_bits_(own_bits), bits_(own_bits) {}
  Tensor forward(const Tensor& x) final;
  virtual Tensor quantized(const Tensor& x) = 0;

 private:
  int own_bits_;
  std::optional<int> bits_;
  bool frozen_ = false;
  float gradient_scaling_ = 0;
};

}  // namespace qgrad
