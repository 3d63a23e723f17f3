// Fake quantization of activations during training: values take the grid's steps, ranges follow the data.
#pragma once

#include <functional>
#include <optional>

#include "nn/module.h"
#include "quant/affine.h"
#include "quant/quantization.h"
#include "quant/ranges/ranges.h"
#include "quant/settings.h"

namespace qgrad {

struct FakeQuantConfig {
  int bits = 8;
  LinearQuantMode mode = LinearQuantMode::symmetric;
  float ema_decay = 0.999f;
  bool clamp_integers = true;  // false: as Distiller, see linear_quantize_ste
  bool dequantize = true;
  ClipMode clip = ClipMode::none;
  std::optional<float> clip_percentile, clip_n_stds;
};

// Quantizes to a range that follows the inputs' minima and maxima (Distiller range_linear.FakeLinearQuantization):
//   biased = biased * decay + (1 - decay) * current;  tracked = biased / (1 - decay^steps), each training forward
// Symmetric modes: range +-max(|tracked_min|, |tracked_max|). The input is clamped to the range, then quantized and
// dequantized; the gradient is 1 inside the range, ends included, and 0 outside.
// Evaluation uses the range as it stands, and throws when no training step nor checkpoint has set one.
// While a schedule takes the bits away, the input is handed on, and the range followed all the same.
// With a clip mode the range is that of the first training forward's input, so cut, and stays.
class FakeLinearQuantization final : public Quantization {
 public:
  explicit FakeLinearQuantization(const FakeQuantConfig& config);
  std::string_view kind() const override { return "FakeLinearQuantization"; }
  std::string describe() const override;
  const FakeQuantConfig& config() const { return config_; }

  bool has_range() const { return iter_count.item() > 0; }
  void forget_range() override;
  std::optional<ValueRange> narrower_range() const override;
  void set_range(const ValueRange& range);  // as if it had been followed for so long that its beginning does not count
  void start_from(const TensorStats& stats);  // sets the range that the clip mode leaves of them

 private:
  FakeQuantConfig config_;

 public:
  Buffer tracked_min_biased, tracked_min, tracked_max_biased, tracked_max;  // [1], like all that follow
  Buffer iter_count;                                                        // training steps seen
  Buffer scale, zero_point;

 protected:
  Tensor quantized(const Tensor& x) override;

 private:
  void follow(const Tensor& x);
  QuantSettings settings() const;  // for the choice of a range
  void update_grid();              // scale and zero point: of the range, at the bits of now
};

// Forgets the ranges of a model, and follows those of what `run` puts through it; all else is as in evaluation. For
// trained models whose numbers have changed a little, as by folding batch norms.
void measure_ranges_again(Module& model, const std::function<void()>& run);

}  // namespace qgrad
