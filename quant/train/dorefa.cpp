// The quantizer, and the two forms of its weights.
#include "quant/train/dorefa.h"

#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "core/tape.h"
#include "quant/train/clipped_activation.h"
#include "quant/train/ste.h"

namespace qgrad {
namespace {

// Config: {"class": "DorefaQuantizer", "bits_activations": 4, "bits_weights": 4}
struct DorefaConfig : FixedClipConfig {};

// Activations are clipped to [0, act_clip_val]. Gradients are not quantized, as in Distiller.
class DorefaQuantizer final : public FixedClipQuantizer {
 public:
  explicit DorefaQuantizer(const DorefaConfig& config) : FixedClipQuantizer(config) {}

 protected:
  std::unique_ptr<Quantization> weight(const Site&, const Parameter&, int bits) override {
    return std::make_unique<DorefaQuantizeParam>(bits);
  }
};

const Registered<Quantizer, DorefaQuantizer, DorefaConfig> dorefa{
    "DorefaQuantizer", "in training: DoReFa's weights, activations clipped to a fixed bound (Zhou et al. 2016)"};

Tensor binarized(const Tensor& x) {
  Tensor y = Tensor::empty(x.shape());
  {
    const Tape::Paused paused;
    const float magnitude = mean(abs(x)).item();
    for (size_t i = 0; i < x.data().size(); ++i) y.mutable_data()[i] = x.data()[i] >= 0 ? magnitude : -magnitude;
  }
  return record("dorefa_binarize", y, {x}, [](Tensor dy, Grads& dx) { dx.add(0, std::move(dy)); });
}

}  // namespace

DorefaQuantizeParam::DorefaQuantizeParam(int bits) : Quantization(bits) {
  quantized_range(bits, LinearQuantMode::asymmetric_unsigned);  // checks the bits
}

std::string DorefaQuantizeParam::describe() const { return fmt::format("bits={}", own_bits()); }

std::optional<ChannelGrid> DorefaQuantizeParam::grid(const Tensor& quantized) const {
  const float magnitude = own_bits() > 1 ? 1 : std::max(std::fabs(quantized.data()[0]), 1e-12f);
  const QuantizedRange range = quantized_range(own_bits(), LinearQuantMode::asymmetric_unsigned);
  return Grid{range.qmax / 2 / magnitude, -range.qmax / 2, range.qmin, range.qmax};
}

Tensor DorefaQuantizeParam::quantized(const Tensor& parameter) {
  if (!bits()) return parameter;
  if (*bits() == 1) return binarized(parameter);
  const Tensor bounded = tanh(parameter);
  Tensor largest = max(abs(bounded));
  if (largest.item() == 0) largest = Tensor::scalar(1);
  const Tensor unit = add_scalar(div(bounded, mul_scalar(largest, 2)), 0.5f);
  const QuantizedRange range = quantized_range(*bits(), LinearQuantMode::asymmetric_unsigned);
  const Tensor levels = linear_quantize_ste(unit, {{range.qmax}, {0}, range});
  return add_scalar(mul_scalar(levels, 2), -1);
}

}  // namespace qgrad
