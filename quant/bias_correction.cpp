// Means of channels, and their differences.
#include "quant/bias_correction.h"

#include "core/error.h"

namespace qgrad {
namespace {

// Adds up channels, the last dimension.
class ChannelMeans {
 public:
  explicit ChannelMeans(size_t channels) : sums_(channels, 0.0) {}
  void add(const Tensor& y) {
    const std::span<const float> values = y.data();
    for (size_t i = 0; i < values.size(); ++i) sums_[i % sums_.size()] += values[i];
    rows_ += static_cast<double>(values.size() / sums_.size());
  }
  double mean(size_t channel) const { return sums_[channel] / rows_; }

 private:
  std::vector<double> sums_;
  double rows_ = 0;
};

}  // namespace

void correct_bias(RangeLinearQuantParamLayerWrapper& layer, const LayerSamples& samples) {
  check(!samples.inputs.empty(), "bias correction: no samples");
  check(layer.bias().defined(), "bias correction: {} has no bias", layer.path());
  const auto channels = static_cast<size_t>(layer.bias().numel());
  ChannelMeans is(channels), should_be(channels);
  for (const Tensor& x : samples.inputs) is.add(layer.sums(x));
  for (const Tensor& y : samples.outputs) should_be.add(y);
  Tensor bias = layer.bias().clone();
  for (size_t c = 0; c < channels; ++c)
    bias.mutable_data()[c] = static_cast<float>(bias.data()[c] + should_be.mean(c) - is.mean(c));
  layer.set_bias(std::move(bias));
}

}  // namespace qgrad
