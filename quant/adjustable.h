// What a schedule may change about quantization while training goes on.
#pragma once

#include <optional>

namespace qgrad {

// A module that quantizes to a number of bits which training may begin above, or without. Not saved: a schedule says it
// again, and ends at own_bits().
class AdjustableBits {
 public:
  virtual ~AdjustableBits() = default;
  int own_bits() const { return own_bits_; }         // the config's
  std::optional<int> bits() const { return bits_; }  // now; none: values keep all their digits
  void set_bits(std::optional<int> bits) { bits_ = bits; }

 protected:
  explicit AdjustableBits(int own_bits) : own_bits_(own_bits), bits_(own_bits) {}

 private:
  int own_bits_;
  std::optional<int> bits_;
};

}  // namespace qgrad
