// What quantizes a tensor in training, and what a schedule may change about it as training goes on.
#pragma once

#include <optional>

#include "nn/module.h"

namespace qgrad {

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
  // The next training forward begins with a new range or grid, where that comes from the numbers that are quantized.
  virtual void forget_range() {}

 protected:
  explicit Quantization(int own_bits) : own_bits_(own_bits), bits_(own_bits) {}

 private:
  int own_bits_;
  std::optional<int> bits_;
  bool frozen_ = false;
};

}  // namespace qgrad
