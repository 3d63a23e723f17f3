// A layer quantized after training that learns: a differentiable form of it stands in its place.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/ops/fused.h"
#include "core/random.h"
#include "quant/simulation/param_layer.h"

namespace qgrad {

// Which numbers are left as they are where a network is quantized: functions of seed, name, and how many tensors came
// before.
class Dropping {
 public:
  Dropping(float share, uint64_t seed, const std::string& name);

  struct Choice {
    std::shared_ptr<BitMask> kept, dropped;  // one the complement of the other
  };
  Choice next(int64_t count);

 private:
  std::array<uint32_t, 4> bits(uint64_t block, uint64_t lane) const;

  uint32_t share_;  // of 256
  RandomStream random_;
  uint64_t tensors_ = 0;
};

// Owns parameters, so that an optimizer can step them.
class ParameterOwner final : public UnaryModule {
 public:
  std::string_view kind() const override { return "ParameterOwner"; }
  std::unique_ptr<Parameter> make(Tensor initial);

 protected:
  Tensor forward(const Tensor& x) override { return x; }
};

// A grid whose step is learned, by its logarithm; the zero point stays.
class LearnedStep {
 public:
  LearnedStep(ParameterOwner& owner, const Grid& grid);
  Grid grid() const;
  Parameter* parameter() { return log_step_.get(); }
  // x on the grid but for what is dropped, which is `dropped` instead. Differentiable in x and in the step.
  Tensor quantized(const Tensor& x, const Tensor& dropped, Dropping* dropping);

 private:
  Grid grid_;
  std::unique_ptr<Parameter> log_step_;
};

// (round(v) + zero point) * exp(g) / scale; g, scale and zero point for each channel, or one for all. The gradient of v
// is as if it were not rounded.
Tensor on_learned_grid(const Tensor& v, const Tensor& g, const ChannelGrid& grid);

// Stands in its wrapper while it lives. What it computes differs from what the wrapper does, with finish(), by the
// rounding of float sums alone.
class LearningLayer {
 public:
  // reference: the float layer. Throws where the wrapper's scales come from the values of every batch.
  LearningLayer(RangeLinearQuantWrapper& wrapper, Module& reference);
  ~LearningLayer() { wrapper_.set_stand_in(nullptr); }
  LearningLayer(const LearningLayer&) = delete;
  LearningLayer& operator=(const LearningLayer&) = delete;

  void set_open(bool open) { is_open_ = open; }                    // whether the output is left as it is
  void set_dropping(Dropping* dropping) { dropping_ = dropping; }  // null: all is quantized
  // x as this layer's output; itself where outputs are not quantized.
  Tensor output_quantized(const Tensor& x, const Tensor& dropped);
  Parameter* output_step() { return output_ ? output_->parameter() : nullptr; }

  struct Parameters {
    std::vector<Parameter*> weights, steps, others;
  };
  void add_to(Parameters& parameters);
  void add_all_but_weights_to(Parameters& parameters);

  // Everything that learns, by name.
  std::vector<std::pair<std::string, Parameter*>> parameters();

  // Gives the wrapper what was learned: integers, scales, a bias.
  void finish();

 private:
  void learn_weights(const RangeLinearQuantParamLayerWrapper& layer, Module& reference);
  Tensor run(Inputs given);
  Tensor sums(const Tensor& x);
  bool hands_on_grid(const Tensor& x) const;

  RangeLinearQuantWrapper& wrapper_;
  ParameterOwner owner_;
  std::optional<LearnedStep> output_;
  std::vector<LearnedStep> inputs_;
  ChannelGrid weight_grid_;                          // as it was
  std::unique_ptr<Parameter> v_, log_steps_, bias_;  // null where there are none
  std::optional<Grid> handed_on_;  // by a layer that moves numbers: they stay on the grid that they came on
  bool is_open_ = false;
  Dropping* dropping_ = nullptr;
};

}  // namespace qgrad
