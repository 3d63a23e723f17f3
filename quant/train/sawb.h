// SAWB's weights: evenly spaced levels whose ends follow from two moments.
#pragma once

#include "quant/quantization.h"

namespace qgrad {

// y = the nearest of 2^bits levels, evenly spaced from -a to a, none of them zero:
//   a = c1 sqrt(mean of w^2) + c2 mean of |w|
// with c1 and c2 for each number of bits so that the square error is about the least, whether weights look like a
// normal or a uniform distribution, or one between. The gradient passes as if y were w. (Choi et al., "Bridging the
// accuracy gap for 2-bit quantized neural networks", 2018, section 3)
class SawbQuantizeParam final : public Quantization {
 public:
  explicit SawbQuantizeParam(int bits);  // 2, 3, 4, 5 or 8, of which c1 and c2 are known; throws for others
  std::string_view kind() const override { return "SawbQuantizeParam"; }
  std::string describe() const override;
  std::optional<ChannelGrid> grid(const Tensor&) const override { return grid_of(own_bits()); }

  Buffer scale;  // [1], steps in 1, as the last forward had it

 protected:
  Tensor quantized(const Tensor& parameter) override;

 private:
  ChannelGrid grid_of(int bits) const;
};

}  // namespace qgrad
