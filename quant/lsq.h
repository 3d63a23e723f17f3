// LSQ (Esser et al., "Learned Step Size Quantization", 2020) and LSQ+ (Bhalgat et al., "LSQ+: Improving Low-bit
// Quantization through Learnable Offsets and Better Initialization", 2020).
#pragma once

#include "quant/learned_grid.h"

namespace qgrad {

// Config: {"class": "LSQQuantizer", "bits_activations": 4, "bits_weights": 4}
struct LSQConfig : LearnedQuantizerConfig {
  bool learn_offset = false;
};
struct LSQPlusConfig : LSQConfig {
  LSQPlusConfig() { learn_offset = true; }
};
template <class V>
void fields(V& v, LSQConfig& c) {
  fields(v, static_cast<LearnedQuantizerConfig&>(c));
  v("learn_offset", c.learn_offset, {.help = "activations learn where their grid begins, too (LSQ+)"});
}

// "LSQQuantizer", and "LSQPlusQuantizer" which learns offsets unless told otherwise.
class LSQQuantizer final : public LearnedQuantizer {
 public:
  explicit LSQQuantizer(LSQConfig config);

 protected:
  std::unique_ptr<LearnedQuantization> make(int bits, GridSite site) const override;

 private:
  bool learn_offset_;
};

// y = s q + offset, q = clamp(round((x - offset) / s), qmin, qmax):
//   dy/ds = q - (x - offset) / s between the ends, qmin below, qmax above, all times g = 1 / sqrt(N qmax)
//   dy/doffset = 0 between the ends, 1 beyond them, times g;  dy/dx = 1 between the ends, else 0
// (LSQ eq. 1 to 3 and section 2.2; LSQ+ eq. 1, 6 and 7, where activations are unsigned.)
// The step starts from 2 mean|x| / sqrt(qmax) (LSQ section 2.1). LSQ+ starts weights from
// max(|mean - 3 std|, |mean + 3 std|) / 2^(bits-1), activations from the least squared error (section 3.2).
class LSQQuantization final : public LearnedQuantization {
 public:
  enum class Variant { lsq, lsq_plus };
  LSQQuantization(int bits, GridSite site, Variant variant);
  std::string_view kind() const override { return "LSQQuantization"; }

  Parameter step, offset;  // [1]; the offset is absent unless LSQ+ quantizes activations

 protected:
  void start(const Tensor& x, int bits) override;
  Tensor quantize(const Tensor& x, int bits) override;
  void restrain() override;

 private:
  Variant variant_;
};

}  // namespace qgrad
