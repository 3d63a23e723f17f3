// LSQ (Esser et al., "Learned Step Size Quantization", 2020) and LSQ+ (Bhalgat et al., "LSQ+: Improving Low-bit
// Quantization through Learnable Offsets and Better Initialization", 2020).
#pragma once

#include "quant/train/learned_grid.h"

namespace qgrad {

// Where a grid starts. A network that is already trained is best left as it is: LSQ's own rule cuts off much of
// activations that are mostly zero.
enum class LSQStart {
  lsq,       // 2 mean|x| / sqrt(qmax) (LSQ section 2.1)
  lsq_plus,  // weights max(|mean - 3 std|, |mean + 3 std|) / 2^(bits-1), activations as mse (LSQ+ section 3.2)
  mse,       // the step, of sixteen, with the least squared error
};
std::vector<std::pair<std::string, LSQStart>> enum_names(LSQStart*);  // "LSQ", "LSQ+", "MSE"

struct LSQOptions {
  LSQStart start = LSQStart::lsq;
  bool learn_offset = false;  // weights and the model's input have none
  bool per_channel = false;   // activations have one step
  bool midrise = false;       // activations have a level at zero
};

// y = s q + offset, q = clamp(round((x - offset) / s), qmin, qmax):
//   dy/ds = q - (x - offset) / s between the ends, qmin below, qmax above, all times g = 1 / sqrt(N qmax)
//   dy/doffset = 0 between the ends, 1 beyond them, times g;  dy/dx = 1 between the ends, else 0
// (LSQ eq. 1 to 3 and section 2.2; LSQ+ eq. 1, 6 and 7, where activations are unsigned.) With a step for each output
// channel, sums and N are those of its weights. Mid-rise weights are s (q + 1/2): +-s/2, +-3s/2, .. instead of one more
// level below zero than above, which at 2 bits are levels of -2, -1, 0 and 1; q + 1/2 then stands for q in dy/ds.
class LSQQuantization final : public LearnedQuantization {
 public:
  LSQQuantization(int bits, Role role, LSQOptions options = {});
  std::string_view kind() const override { return "LSQQuantization"; }

  std::optional<ChannelGrid> grid(const Tensor& quantized) const override;

  Parameter step;    // [1], or [channels] of weights, the last dimension
  Parameter offset;  // [1]; absent where none is learned

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;

 private:
  struct Start {
    float step, offset;
  };
  // The outermost levels, and what q is less than a level, all in steps.
  struct Ends {
    QuantizedRange q;
    float shift, low, high;
  };
  Ends ends_of(int bits) const;
  Start first_grid(const Tensor& x, int bits) const;
  ChannelGrid weight_grid(int bits) const;
  Tensor quantize_channels(const Tensor& x, int bits);

  LSQStart start_;
  bool per_channel_, midrise_;
};

}  // namespace qgrad
