// Catching what flows into and out of one layer.
#include "quant/corrections.h"

#include <algorithm>

#include "core/error.h"
#include "core/tape.h"
#include "quant/bias_correction.h"

namespace qgrad {
namespace {

struct CorrectedLayer {
  RangeLinearQuantParamLayerWrapper* wrapper;
  int calls;  // in one run of the model
};

// The layers to correct, in the order of their first calls.
class Finder final : public CallObserver {
 public:
  void leave(Module& module, Inputs, const Tensor&) override {
    auto* wrapper = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&module);
    if (!wrapper) return;
    const auto known = std::ranges::find(layers, wrapper, &CorrectedLayer::wrapper);
    if (known == layers.end())
      layers.push_back({wrapper, 1});
    else
      ++known->calls;
  }
  std::vector<CorrectedLayer> layers;
};

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

const Tensor& weight_of(const Module& layer) {
  const auto parameters = layer.parameters();
  const auto found = std::ranges::find(parameters, "weight", [](const Parameter* p) { return p->name(); });
  check(found != parameters.end(), "corrections: '{}' of the float model has no weight", layer.path());
  return (*found)->raw();
}

}  // namespace

void correct_layers(Module& quantized, Module& reference, std::span<const Tensor> batches,
                    const Corrections& corrections, const CorrectionProgress& done) {
  if (!corrections.learned_rounding && !corrections.bias_correction) return;
  check(!batches.empty(), "corrections need calibration images");
  const Tape::Paused paused;
  Finder finder;
  {
    const Observing observing(finder);
    quantized(batches[0]);
  }
  for (size_t i = 0; i < finder.layers.size(); ++i) {
    auto& [wrapper, calls] = finder.layers[i];
    const std::string path = wrapper->path();
    const Module* layer = find_module(reference, path);
    check(layer != nullptr, "corrections: the float model has no layer '{}'", path);
    const LayerSamples samples{Catcher(*wrapper, Catcher::What::input, calls).run(quantized, batches),
                               Catcher(*layer, Catcher::What::output, calls).run(reference, batches)};
    if (corrections.learned_rounding)
      learn_rounding(*wrapper, weight_of(*layer), samples, *corrections.learned_rounding);
    if (corrections.bias_correction) correct_bias(*wrapper, samples);
    done(path, i + 1, finder.layers.size());
  }
}

}  // namespace qgrad
