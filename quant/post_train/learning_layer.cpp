// Grids with gradients, and the layers that are made of them.
#include "quant/post_train/learning_layer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "core/kernels/table.h"
#include "core/ops.h"
#include "core/ops/map.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "nn/fold.h"
#include "quant/train/learned_grid.h"

namespace qgrad {
namespace {

constexpr uint32_t kShares = 256;

// a where kept, b where dropped.
Tensor chosen_of(const Tensor& a, const Tensor& b, const Dropping::Choice& choice) {
  Tensor y;
  {
    const Tape::Paused paused;
    y = add(masked(a, choice.kept), masked(b, choice.dropped));
  }
  return record("chosen_of", y, {a, b}, [choice](const Tensor& dy, Grads& dx) {
    if (dx.needs(0)) dx.add(0, masked(dy, choice.kept));
    if (dx.needs(1)) dx.add(1, masked(dy, choice.dropped));
  });
}

// A bias as it is added to sums of these steps, one for each channel or for all; its gradient is straight-through.
Tensor in_steps(const Tensor& bias, const std::vector<float>& steps) {
  Tensor y = Tensor::empty(bias.shape());
  for (size_t c = 0; c < y.data().size(); ++c) {
    const float step = steps[c % steps.size()];
    y.mutable_data()[c] = std::nearbyint(bias.data()[c] / step) * step;
  }
  return record("in_steps", y, {bias}, [](Tensor dy, Grads& dx) { dx.add(0, std::move(dy)); });
}

bool leaves_numbers_alone(const Effect& effect) {
  return effect.kind == Effect::Kind::moves || effect.kind == Effect::Kind::splits ||
         effect.kind == Effect::Kind::picks;
}

void set_grid(const QuantParamSlot& slot, Grid grid) {
  grid.scale = maybe_approximated(grid.scale, slot.settings);
  slot.set(grid);
}

}  // namespace

Dropping::Dropping(float share, uint64_t seed, const std::string& name)
    : share_(static_cast<uint32_t>(std::lround(share * kShares))), random_(seed, "dropping in " + name) {}

Dropping::Choice Dropping::next(int64_t count) {
  constexpr int64_t kBlocks = 512;  // a thread makes at a time
  Choice choice{std::make_shared<BitMask>(count), std::make_shared<BitMask>(count)};
  const int64_t words = (count + 31) / 32;
  const uint64_t lane = tensors_++;
  parallel_for((words + 3) / 4, kBlocks, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const std::array<uint32_t, 4> dropped = bits(static_cast<uint64_t>(block), lane);
      for (int64_t i = 0; i < std::min<int64_t>(4, words - 4 * block); ++i) {
        const uint32_t word = dropped[static_cast<size_t>(i)], complement = ~word;
        std::memcpy(choice.dropped->data() + (4 * block + i) * 4, &word, 4);
        std::memcpy(choice.kept->data() + (4 * block + i) * 4, &complement, 4);
      }
    }
  });
  return choice;
}

// Bits that are set with the probability share_ / 256, whose binary digits choose, from the last one on, between "or"
// and "and" with random bits.
std::array<uint32_t, 4> Dropping::bits(uint64_t block, uint64_t lane) const {
  std::array<uint32_t, 4> set{};
  if (share_ == kShares) set.fill(~0u);
  for (uint32_t digit = 0; share_ < kShares && digit < 8; ++digit) {
    if (share_ % (2u << digit) == 0) continue;  // nothing but zeros so far
    const std::array<uint32_t, 4> random = random_.block(block, 8 * lane + digit);
    for (size_t i = 0; i < 4; ++i) set[i] = (share_ >> digit & 1) ? set[i] | random[i] : set[i] & random[i];
  }
  return set;
}

std::unique_ptr<Parameter> ParameterOwner::make(Tensor initial) {
  return std::make_unique<Parameter>(*this, "learned", std::move(initial), Layout::plain);
}

LearnedStep::LearnedStep(ParameterOwner& owner, const Grid& grid)
    : grid_(grid), log_step_(owner.make(Tensor::full({1}, std::log(grid.step())))) {}

Grid LearnedStep::grid() const {
  Grid now = grid_;
  now.scale = std::exp(-log_step_->raw().item());
  return now;
}

// With the step s = e^l: dQ/dl = Q(x) - x between the ends, low and high beyond them.
Tensor LearnedStep::quantized(const Tensor& x, const Tensor& dropped, Dropping* dropping) {
  const Grid grid = this->grid();
  const QuantGrid to{.scale = grid.scale, .zero_point = grid.zero_point, .qmin = grid.qmin, .qmax = grid.qmax};
  Tensor y;
  {
    const Tape::Paused paused;
    y = map(x, [&](const float* in, float* out, size_t n) { kernels().quantize.fake_quant(in, out, n, to); });
  }
  const float low = grid.lowest() * grid.step(), high = grid.highest() * grid.step();
  const auto gradient = [low, high](const GridSums& sums) {
    return static_cast<float>(sums.inside + low * sums.below + high * sums.above);
  };
  y = record_on_grid("learned_step", x, y, {low, high}, {{(*log_step_)(), gradient}});
  if (dropping) y = chosen_of(y, dropped, dropping->next(y.numel()));
  y.set_grid(grid);
  return y;
}

Tensor on_learned_grid(const Tensor& v, const Tensor& g, const ChannelGrid& grid) {
  const size_t channels = grid.scale.size();
  std::vector<float> steps(channels);
  for (size_t c = 0; c < channels; ++c) steps[c] = std::exp(g.data()[c]) / grid.scale[c];
  Tensor w = Tensor::empty(v.shape());
  for (size_t i = 0; i < w.data().size(); ++i) {
    const size_t c = i % channels;
    w.mutable_data()[i] = (std::nearbyint(v.data()[i]) + grid.zero_point[c]) * steps[c];
  }
  return record("on_learned_grid", w, {v, g}, [w, steps](const Tensor& dy, Grads& dx) {
    Tensor dv = Tensor::empty(w.shape()), dg = Tensor::zeros({static_cast<int64_t>(steps.size())});
    const std::span<const float> ws = w.data(), dys = dy.data();
    const std::span<float> dvs = dv.mutable_data(), dgs = dg.mutable_data();
    for (size_t i = 0; i < ws.size(); ++i) {
      const size_t c = i % steps.size();
      dvs[i] = dys[i] * steps[c];
      dgs[c] += dys[i] * ws[i];
    }
    if (dx.needs(0)) dx.add(0, dv);
    if (dx.needs(1)) dx.add(1, dg);
  });
}

LearningLayer::LearningLayer(RangeLinearQuantWrapper& wrapper, Module& reference) : wrapper_(wrapper) {
  if (wrapper.quantization().output) {
    const std::optional<Grid> grid = wrapper.output_grid();
    check(grid.has_value(),
          "{}: reconstruction needs calibration statistics: scales that come from the values of every batch can not be "
          "learned",
          wrapper.path());
    output_.emplace(owner_, *grid);
    for (size_t i = 0; i < wrapper.quantization().inputs.size(); ++i)
      inputs_.emplace_back(owner_, wrapper.own_input_grid(i, Tensor()));
  }
  if (RangeLinearQuantParamLayerWrapper* layer = wrapper.param_layer()) learn_weights(*layer, reference);
  wrapper_.set_stand_in([this](Inputs x) { return run(x); });
}

void LearningLayer::learn_weights(const RangeLinearQuantParamLayerWrapper& layer, Module& reference) {
  weight_grid_ = layer.weight().grid();
  const auto [qmin, qmax] = weight_grid_.integers;
  Tensor v = layer_parameters(reference).weight.raw().clone();
  const std::span<float> values = v.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t c = i % weight_grid_.scale.size();
    values[i] = std::clamp(weight_grid_.scale[c] * values[i] - weight_grid_.zero_point[c], qmin, qmax);
  }
  v_ = owner_.make(std::move(v));
  v_->set_limits({qmin, qmax});
  log_steps_ = owner_.make(Tensor::zeros({static_cast<int64_t>(weight_grid_.scale.size())}));
  if (layer.bias().defined()) bias_ = owner_.make(layer.bias().clone());
}

Tensor LearningLayer::output_quantized(const Tensor& x, const Tensor& dropped) {
  return output_ ? output_->quantized(x, dropped, dropping_) : x;
}

void LearningLayer::add_to(Parameters& parameters) {
  if (v_) parameters.weights.push_back(v_.get());
  add_all_but_weights_to(parameters);
}

void LearningLayer::add_all_but_weights_to(Parameters& parameters) {
  for (Parameter* other : {log_steps_.get(), bias_.get()})
    if (other) parameters.others.push_back(other);
  for (LearnedStep& input : inputs_) parameters.steps.push_back(input.parameter());
  if (output_) parameters.steps.push_back(output_->parameter());
}

std::vector<std::pair<std::string, Parameter*>> LearningLayer::parameters() {
  std::vector<std::pair<std::string, Parameter*>> all;
  if (v_) all.insert(all.end(), {{"v", v_.get()}, {"log_steps", log_steps_.get()}});
  if (bias_) all.emplace_back("bias", bias_.get());
  for (size_t i = 0; i < inputs_.size(); ++i) all.emplace_back(fmt::format("input{}", i), inputs_[i].parameter());
  if (output_) all.emplace_back("output", output_->parameter());
  return all;
}

void LearningLayer::finish() {
  for (const QuantParamSlot& slot : wrapper_.quant_param_slots()) {
    if (slot.scale == "output_scale") set_grid(slot, handed_on_.value_or(output_->grid()));
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (slot.scale == fmt::format("input{}_scale", i)) set_grid(slot, inputs_[i].grid());
  }
  if (!v_) return;
  RangeLinearQuantParamLayerWrapper& layer = *wrapper_.param_layer();
  Tensor q = v_->raw().clone();
  for (float& value : q.mutable_data()) value = std::nearbyint(value);
  layer.weight().set_q(std::move(q));
  ChannelGrid grid = weight_grid_;
  for (size_t c = 0; c < grid.scale.size(); ++c) grid.scale[c] /= std::exp(log_steps_->raw().data()[c]);
  layer.weight().set_grid(grid);
  if (bias_) layer.set_bias(bias_->raw().clone());
}

bool LearningLayer::hands_on_grid(const Tensor& x) const {
  if (!output_ || !x.grid() || !leaves_numbers_alone(wrapper_.wrapped().effect())) return false;
  const Grid own = output_->grid();
  return own.qmin == x.grid()->qmin && own.qmax == x.grid()->qmax;
}

Tensor LearningLayer::run(Inputs given) {
  std::vector<Tensor> x(given.begin(), given.end());
  if (hands_on_grid(x[0])) {
    handed_on_ = x[0].grid();
    Tensor y = wrapper_.wrapped().call(x);
    y.set_grid(*handed_on_);
    return y;
  }
  for (size_t i = 0; i < std::min(x.size(), inputs_.size()); ++i)
    if (wrapper_.quantizes_input(i, x[i])) x[i] = inputs_[i].quantized(x[i], x[i], dropping_);
  const Tensor y = wrapper_.activated(v_ ? sums(x[0]) : wrapper_.wrapped().call(x));
  return is_open_ ? y : output_quantized(y, y);
}

Tensor LearningLayer::sums(const Tensor& x) {
  const Tensor w = on_learned_grid((*v_)(), (*log_steps_)(), weight_grid_);
  Tensor bias = bias_ ? (*bias_)() : Tensor();
  if (bias_ && x.grid()) {
    std::vector<float> steps;
    for (size_t c = 0; c < weight_grid_.scale.size(); ++c)
      steps.push_back(x.grid()->step() * std::exp(log_steps_->raw().data()[c]) / weight_grid_.scale[c]);
    bias = in_steps(bias, steps);
  }
  return wrapper_.param_layer()->run(x, w, bias);
}

}  // namespace qgrad
