// Catching what flows into and out of one layer, and the corrections of its scales and its bias.
#include "quant/post_train/corrections.h"

#include <algorithm>
#include <cmath>

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

// Of the values of every channel, the last dimension.
class ChannelMoments {
 public:
  explicit ChannelMoments(size_t channels) : sums_(channels, 0.0), squares_(channels, 0.0) {}
  void add(const Tensor& y) {
    const std::span<const float> values = y.data();
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = double{values[i]};
      sums_[i % sums_.size()] += value;
      squares_[i % sums_.size()] += value * value;
    }
    const size_t rows = values.size() / sums_.size();
    rows_ += static_cast<double>(rows);
  }
  double mean(size_t channel) const { return sums_[channel] / rows_; }
  double variance(size_t channel) const { return squares_[channel] / rows_ - mean(channel) * mean(channel); }

 private:
  std::vector<double> sums_, squares_;
  double rows_ = 0;
};

// What a layer gives before its activation function, over all samples and positions: y of the float layer in the float
// model, y' of the quantized one on the inputs that reach it.
struct GivenByLayer {
  GivenByLayer(RangeLinearQuantParamLayerWrapper& layer, const LayerSamples& samples)
      : should_be(channels_of(samples)), is(channels_of(samples)) {
    for (const Tensor& x : samples.inputs) is.add(layer.sums(x));
    for (const Tensor& y : samples.outputs) should_be.add(y);
  }
  static size_t channels_of(const LayerSamples& samples) {
    check(!samples.outputs.empty(), "corrections: no samples");
    return static_cast<size_t>(samples.outputs[0].dim(-1));
  }
  ChannelMoments should_be, is;
};

// step_w *= std(y) / std(y') per output channel, or for all of them by the sums of their variances, where weights have
// one step; at most by kFarthest either way. Clipped weights and inputs make what a layer gives smaller, and every
// layer after it makes it smaller again. (As batch norms that are measured again in the quantized network and folded
// anew: Hubara et al., "Accurate post training quantization with small calibration sets", ICML 2021, section 3.4.)
void correct_scales(RangeLinearQuantParamLayerWrapper& layer, const LayerSamples& samples) {
  constexpr double kFarthest = 4;
  const GivenByLayer given(layer, samples);
  ChannelGrid grid = layer.weight().grid();
  const size_t scales = grid.scale.size(), channels = GivenByLayer::channels_of(samples);
  std::vector<double> is(scales, 0.0), should_be(scales, 0.0);
  for (size_t c = 0; c < channels; ++c) {
    is[c % scales] += given.is.variance(c);
    should_be[c % scales] += given.should_be.variance(c);
  }
  for (size_t i = 0; i < scales; ++i)
    if (is[i] > 0 && should_be[i] > 0)
      grid.scale[i] *= static_cast<float>(std::clamp(std::sqrt(is[i] / should_be[i]), 1 / kFarthest, kFarthest));
  layer.weight().set_grid(grid);
}

// bias += E[y] - E[y'] per output channel.
// (Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2 and
// appendix D, the empirical form.) The layer must have a bias.
void correct_bias(RangeLinearQuantParamLayerWrapper& layer, const LayerSamples& samples) {
  check(layer.bias().defined(), "bias correction: {} has no bias", layer.path());
  const GivenByLayer given(layer, samples);
  Tensor bias = layer.bias().clone();
  for (size_t c = 0; c < bias.data().size(); ++c)
    bias.mutable_data()[c] = static_cast<float>(bias.data()[c] + given.should_be.mean(c) - given.is.mean(c));
  layer.set_bias(std::move(bias));
}

void correct_in_turn(Module& quantized, Module& reference, std::span<const Tensor> batches,
                     const Corrections& corrections, const CorrectionProgress& done) {
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
    const Tensor weight = layer_parameters(*layer).weight.raw();
    if (corrections.learned_rounding) learn_rounding(*wrapper, weight, samples, *corrections.learned_rounding);
    if (corrections.scale_correction) correct_scales(*wrapper, samples);
    if (corrections.bias_correction) correct_bias(*wrapper, samples);
    done(path, i + 1, layers.size());
  }
}

}  // namespace

std::vector<std::string> correct_layers(Module& quantized, Module& reference, std::span<const Tensor> batches,
                                        const Corrections& corrections, const CorrectionProgress& done,
                                        KeptCorrections* kept) {
  check(!batches.empty(), "corrections need calibration images");
  const Tape::Paused paused;
  if (corrections.learned_rounding || corrections.scale_correction || corrections.bias_correction)
    correct_in_turn(quantized, reference, batches, corrections, done);
  if (!corrections.reconstruction) return {};
  const std::vector<std::string> left =
      reconstruct(quantized, reference, batches, *corrections.reconstruction, done, kept);
  if (left.empty()) return {};
  return {
      fmt::format("reconstruction leaves {} layers as they are, from {} on: what they give passes through an "
                  "operation that no module computes",
                  left.size(), left[0])};
}

}  // namespace qgrad
