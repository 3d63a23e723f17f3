// Finding pairs of layers, and their factors.
#include "quant/post_train/equalization.h"

#include <algorithm>
#include <cmath>

#include "nn/layers/weighted_sum.h"

namespace qgrad {
namespace {

constexpr int kMostRounds = 1000;
constexpr float kConverged = 1e-3f;

struct Layer {
  Parameter *weight, *bias;
  int64_t groups;
  size_t out() const { return static_cast<size_t>(weight->raw().dim(-1)); }
  size_t in_of_group() const { return static_cast<size_t>(weight->raw().dim(-2)); }

  // The input channel that element i of the weight multiplies: [.., in/groups, out], groups side by side in out.
  size_t input_channel(size_t i) const {
    const size_t group = i % out() / (out() / static_cast<size_t>(groups));
    return group * in_of_group() + i / out() % in_of_group();
  }
  size_t inputs() const { return in_of_group() * static_cast<size_t>(groups); }
};

Layer layer_of(Module& module) {
  WeightedSum& sum = *module.weighted_sum();
  return {&sum.weight, &sum.bias, sum.options().groups};
}

template <class ChannelOf>
std::vector<float> largest_magnitudes(const Tensor& weight, size_t channels, ChannelOf&& channel_of) {
  std::vector<float> largest(channels, 0.0f);
  const std::span<const float> w = weight.data();
  for (size_t i = 0; i < w.size(); ++i) {
    float& magnitude = largest[channel_of(i)];
    magnitude = std::max(magnitude, std::fabs(w[i]));
  }
  return largest;
}

template <class FactorOf>
void scale(Parameter& parameter, FactorOf&& factor_of) {
  if (!parameter.defined()) return;
  Tensor scaled = parameter.raw().clone();
  const std::span<float> values = scaled.mutable_data();
  for (size_t i = 0; i < values.size(); ++i) values[i] *= factor_of(i);
  parameter.set_raw(std::move(scaled));
}

// The ratio of bias to weights above which a channel counts by its bias: well above what the layer's channels have.
float faint_ratio(std::span<const float> weights, std::span<const float> biases) {
  constexpr float kFaint = 8;  // times the median
  std::vector<float> ratios;
  float largest_weight = 0, largest_bias = 0;
  for (size_t c = 0; c < biases.size(); ++c) {
    if (weights[c] == 0) continue;
    ratios.push_back(std::fabs(biases[c]) / weights[c]);
    largest_weight = std::max(largest_weight, weights[c]);
    largest_bias = std::max(largest_bias, std::fabs(biases[c]));
  }
  if (ratios.empty()) return 0;
  const auto middle = ratios.begin() + static_cast<ptrdiff_t>(ratios.size() / 2);
  std::ranges::nth_element(ratios, middle);
  return *middle > 0 ? kFaint * *middle : largest_bias / largest_weight;
}

// The range of each output channel: that of its weights, or what its bias would need if that is much more.
std::vector<float> output_ranges(const Layer& layer) {
  std::vector<float> range =
      largest_magnitudes(layer.weight->raw(), layer.out(), [&](size_t i) { return i % layer.out(); });
  if (!layer.bias->defined()) return range;
  const std::span<const float> bias = layer.bias->raw().data();
  const float ratio = faint_ratio(range, bias);
  for (size_t c = 0; ratio > 0 && c < range.size(); ++c)
    if (range[c] > 0) range[c] = std::max(range[c], std::fabs(bias[c]) / ratio);
  return range;
}

// Returns whether there was anything to do.
bool equalize(const Layer& first, const Layer& second) {
  const size_t channels = first.out();
  const auto channel_behind = [&](size_t i) { return second.input_channel(i); };
  const std::vector<float> before = output_ranges(first),
                           behind = largest_magnitudes(second.weight->raw(), channels, channel_behind);
  std::vector<float> factor(channels, 1.0f);
  float farthest = 0;
  for (size_t c = 0; c < channels; ++c) {
    if (before[c] == 0 || behind[c] == 0) continue;
    factor[c] = std::sqrt(before[c] / behind[c]);
    farthest = std::max(farthest, std::fabs(factor[c] - 1));
  }
  if (farthest <= kConverged) return false;
  const auto divided = [&](size_t i) { return 1 / factor[i % channels]; };
  scale(*first.weight, divided);
  scale(*first.bias, divided);
  scale(*second.weight, [&](size_t i) { return factor[channel_behind(i)]; });
  return true;
}

const GraphNode* next_of(Module& model, const Graph& graph, const GraphNode& node) {
  const GraphNode* next = graph.only_successor(node);
  while (next && graph.called_once(*next) && find_module(model, next->name)->effect().kind == Effect::Kind::none)
    next = graph.only_successor(*next);
  return next;
}

// The layer of the same kind that alone gets this one's output, through a ReLU or directly.
const GraphNode* partner(Module& model, const Graph& graph, const GraphNode& node) {
  const GraphNode* next = next_of(model, graph, node);
  if (next && next->effect.is_rectifier() && !next->effect.cap() && graph.called_once(*next))
    next = next_of(model, graph, *next);
  return next && next->kind == node.kind && graph.called_once(*next) ? next : nullptr;
}

struct Pair {
  EqualizedPair paths;
  Layer first, second;
  bool changed = false;
};

}  // namespace

std::vector<EqualizedPair> equalize_cross_layer(Module& model, const Graph& graph) {
  std::vector<Pair> pairs;
  for (const GraphNode& node : graph.nodes()) {
    if (node.effect.kind != Effect::Kind::sums || !graph.called_once(node)) continue;
    const GraphNode* next = partner(model, graph, node);
    if (!next) continue;
    pairs.push_back(
        {{node.name, next->name}, layer_of(*find_module(model, node.name)), layer_of(*find_module(model, next->name))});
  }
  bool any = true;
  for (int round = 0; any && round < kMostRounds; ++round) {
    any = false;
    for (Pair& pair : pairs)
      if (equalize(pair.first, pair.second)) any = pair.changed = true;
  }
  std::vector<EqualizedPair> changed;
  for (const Pair& pair : pairs)
    if (pair.changed) changed.push_back(pair.paths);
  return changed;
}

}  // namespace qgrad
