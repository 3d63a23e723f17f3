// Catching what flows into and out of one layer, and the correction of its bias.
#include "quant/post_train/corrections.h"

#include <algorithm>

#include "core/error.h"
#include "core/tape.h"
#include "nn/fold.h"

namespace qgrad {
namespace {

// Notes a layer's inputs or outputs, and ends the run when it was called for the last time: what follows is not needed.
class Catcher final : public CallObserver {
 public:
  enum class What { input, output };
  struct Finished {};
  Catcher(const Module& layer, What what, int calls) : layer_(layer), what_(what), calls_(calls) {}

  void enter(Module& module, Inputs x) override {
    if (&module == &layer_ && what_ == What::input) note(x[0]);
  }
  void leave(Module& module, Inputs, const Tensor& y) override {
    if (&module == &layer_ && what_ == What::output) note(y);
  }

  std::vector<Tensor> run(Module& model, std::span<const Tensor> batches) {
    const Observing observing(*this);
    for (const Tensor& batch : batches) {
      seen_ = 0;
      try {
        model(batch);
      } catch (const Finished&) {
        continue;
      }
      fail("corrections: {} was not called as often as before", layer_.path());
    }
    return std::move(caught_);
  }

 private:
  void note(const Tensor& t) {
    caught_.push_back(t);
    if (++seen_ == calls_) throw Finished();
  }

  const Module& layer_;
  What what_;
  int calls_, seen_ = 0;
  std::vector<Tensor> caught_;
};

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

// bias += E[y] - E[y'] per output channel, before the activation function, where y is the float layer's output in the
// float model and y' the quantized layer's on the inputs that reach it, both means over all samples and positions.
// (Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2 and
// appendix D, the empirical form.) The layer must have a bias.
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

}  // namespace

void correct_layers(Module& quantized, Module& reference, std::span<const Tensor> batches,
                    const Corrections& corrections, const CorrectionProgress& done) {
  if (!corrections.learned_rounding && !corrections.bias_correction) return;
  check(!batches.empty(), "corrections need calibration images");
  const Tape::Paused paused;
  std::vector<CalledLayer> layers = called_layers(quantized, batches[0]);
  std::erase_if(layers, [](const CalledLayer& called) { return !called.layer->param_layer(); });
  for (size_t i = 0; i < layers.size(); ++i) {
    RangeLinearQuantParamLayerWrapper* wrapper = layers[i].layer->param_layer();
    const int calls = layers[i].calls;
    const std::string path = wrapper->path();
    Module* layer = find_module(reference, path);
    check(layer != nullptr, "corrections: the float model has no layer '{}'", path);
    const LayerSamples samples{Catcher(*wrapper, Catcher::What::input, calls).run(quantized, batches),
                               Catcher(*layer, Catcher::What::output, calls).run(reference, batches)};
    if (corrections.learned_rounding)
      learn_rounding(*wrapper, layer_parameters(*layer).weight.raw(), samples, *corrections.learned_rounding);
    if (corrections.bias_correction) correct_bias(*wrapper, samples);
    done(path, i + 1, layers.size());
  }
}

}  // namespace qgrad
