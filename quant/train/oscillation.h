// Weights that go to and fro between two levels: drawn to the level that they are on, and stopped.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "quant/quantization.h"

namespace qgrad {

struct OscillationConfig {
  float dampening = 0, momentum = 0.01f;
  std::optional<float> freeze_above, freeze_above_at_first;
};
inline void fields(Fields& v, OscillationConfig& c) {
  v("dampening", c.dampening,
    {.help = "factor, at the end, of the squared distance of weights from their levels in the loss", .min = 0});
  v("freeze_above", c.freeze_above,
    {.help = "weights stay on their level where, at the end, more than this share of steps takes the level back and "
             "forth; null: none does",
     .min = 0,
     .max = 1});
  v("freeze_above_at_first", c.freeze_above_at_first,
    {.help = "the same at the beginning; null: freeze_above", .min = 0, .max = 1});
  v("momentum", c.momentum,
    {.help = "of the averages over steps, of a step's part", .min = 0, .max = 1, .above_min = true});
}

// Follows the weights whose quantization gives the nearest of evenly spaced levels, step by step of an optimizer.
//   dampening: the loss gets  d sum (w - Q(w))^2  over the weights within their levels, Q(w) being constant; d grows
//     along half a cosine from 0 to `dampening`.
//   freezing: a weight whose level goes back the way that it came last, in more than a share of the steps, stays on the
//     level nearest to the average of its levels, whatever step these have from then on. Share and average are
//     exponential ones; the threshold goes along half a cosine from freeze_above_at_first to freeze_above.
// While a schedule gives a quantization other bits than its own, its weights are not followed.
// (Nagel et al., "Overcoming oscillations in quantization-aware training", ICML 2022, sections 4.1 to 4.3)
class Oscillations final : public StepObserver {
 public:
  // Throws where the model has no such weights, and where the config asks for nothing.
  Oscillations(const OscillationConfig& config, Module& model);

  void set_progress(double share) { progress_ = share; }  // of the training, before each step
  void before_step() override;
  void after_step() override;
  std::map<std::string, Tensor> state() const override;
  void load_state(const std::map<std::string, Tensor>& state) override;

  double frozen_percent() const;  // of the weights that are followed

 private:
  struct Followed {
    Parameter* parameter;
    const Quantization* quantization;
    Tensor before{};  // the levels before the step; undefined where it is not followed
    // Of each weight; undefined until the first step. Levels are in steps from zero. Direction: of the last change, -1
    // or 1; 0: none yet. Frozen: 1, on the level in `average`.
    Tensor frequency{}, direction{}, average{}, frozen{};
  };
  static const std::array<std::pair<const char*, Tensor Followed::*>, 4> kKept;  // by their names in the state
  float along_cosine(float from, float to) const;
  void dampen(Parameter& weights, const Tensor& quantized, const std::vector<float>& steps) const;
  void follow(Followed& weight, float threshold) const;

  OscillationConfig config_;
  std::vector<Followed> weights_;
  double progress_ = 0;
};

}  // namespace qgrad
