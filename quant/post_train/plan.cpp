// Wrapping rules, fusions and input settings.
#include "quant/post_train/plan.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace qgrad {
namespace {

using Kind = Effect::Kind;

// Whether a layer with this effect has a form that computes on integers.
bool has_integer_form(Kind kind) {
  switch (kind) {
    case Kind::sums:
    case Kind::looks_up:
    case Kind::adds:
    case Kind::multiplies:
    case Kind::multiplies_matrices:
    case Kind::concatenates:
      return true;
    default:
      return false;
  }
}

Wrapping wrapping_of(Kind kind, const Bits& bits, const PostTrainOverride& settings, bool is_static) {
  if (kind == Kind::none) return Wrapping::none;
  if (settings.fpq_module && !settings.fake.value_or(!has_integer_form(kind))) return Wrapping::reduced_float;
  if (settings.fpq_module && bits.activations) return Wrapping::fake_quant;
  if (kind == Kind::looks_up && bits.weights) return Wrapping::embedding;
  if (kind == Kind::sums && bits.weights) return Wrapping::param_layer;
  if (!bits.activations) return Wrapping::none;
  if (kind == Kind::adds || kind == Kind::concatenates) return is_static ? Wrapping::common_grid : Wrapping::none;
  if (kind == Kind::multiplies) return is_static ? Wrapping::product : Wrapping::none;
  if (kind == Kind::multiplies_matrices) return Wrapping::product;
  return Wrapping::fake_quant;
}

struct ValueLimits {
  double low, high;
};

// Distiller _clip_stats. Moments are left as they are: ACIQ wants those from before the activation.
void clip_stats(TensorStats& stats, const ValueLimits& limits) {
  if (stats.max < limits.low) {
    stats.min = stats.max = stats.avg_min = stats.avg_max = limits.low;
  } else if (stats.min > limits.high) {
    stats.min = stats.max = stats.avg_min = stats.avg_max = limits.high;
  } else {
    stats.min = std::max(limits.low, stats.min);
    stats.avg_min = std::max(limits.low, stats.avg_min);
    stats.max = std::min(limits.high, stats.max);
    stats.avg_max = std::clamp(stats.avg_max, limits.low, limits.high);  // rarely active: below 0 in the mean
  }
  if (stats.histogram) stats.histogram = stats.histogram->clipped(stats.min, stats.max);
}

// What the least restrictive of these activations tells apart of a tensor; none where one of them is no activation, or
// clamps otherwise than the others.
std::optional<ValueLimits> told_apart(const std::vector<const GraphNode*>& activations, const TensorStats& stats) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  ValueLimits widest{kInfinity, -kInfinity};
  for (const GraphNode* activation : activations) {
    if (!activation || activation->effect.tells_apart == Limits()) return std::nullopt;
    const Effect &effect = activation->effect, &first = activations[0]->effect;
    if (effect != first && (effect.clamps || first.clamps)) return std::nullopt;
    const Limits& limits = effect.tells_apart;
    widest = {std::min<double>(widest.low, limits.low), std::max<double>(widest.high, limits.high)};
  }
  return ValueLimits{widest.low, std::min(widest.high, stats.max)};
}

// One entry of input_overrides.
struct InputOverride {
  bool from_output = false;
  std::optional<int> bits_activations;
  std::optional<LinearQuantMode> mode;
  std::optional<ClipMode> clip_acts;
  std::optional<float> clip_n_stds, clip_percentile;
};
void fields(Fields& v, InputOverride& o) {
  v("from_output", o.from_output, {.help = "the settings of the output"});
  v("bits_activations", o.bits_activations, {.help = "bits", .min = 1, .max = 32});
  v("mode", o.mode, {.help = "which integers stand for the range"});
  v("clip_acts", o.clip_acts, {.help = "how the range is cut"});
  v("clip_n_stds", o.clip_n_stds, {.help = "standard deviations kept by N_STD", .min = 0, .above_min = true});
  v("clip_percentile", o.clip_percentile,
    {.help = "percent of the values kept by PERCENTILE", .min = 50, .max = 100, .above_min = true});
}

QuantSettings overridden(QuantSettings settings, const Config& config) {
  const auto o = read_config<InputOverride>(config);
  if (o.from_output && config.json().size() > 1)
    config_error(config.where(), "from_output takes the output's settings; other settings can not be given beside it");
  settings.half_range = false;
  settings.bits = o.bits_activations.value_or(settings.bits);
  if (o.mode) settings.mode = activation_mode(*o.mode, config);
  settings.clip = o.clip_acts.value_or(settings.clip);
  if (o.clip_n_stds) settings.n_stds = o.clip_n_stds;
  if (o.clip_percentile) settings.percentile = o.clip_percentile;
  return settings;
}

size_t input_index(const Config& input_overrides, const std::string& key, size_t inputs) {
  size_t index = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  if (error != std::errc() || end != key.data() + key.size() || index >= inputs)
    config_error(input_overrides.where(), "expected the index of one of the layer's {} inputs, got '{}'", inputs, key);
  return index;
}

}  // namespace

void check_clip_settings(const PostTrainLayerSettings& settings) {
  check(settings.clip_acts != ClipMode::n_std || settings.clip_n_stds, "clip_acts N_STD needs clip_n_stds");
  check(settings.clip_acts != ClipMode::percentile || settings.clip_percentile,
        "clip_acts PERCENTILE needs clip_percentile");
}

bool LayerPlan::quantizes_output() const {
  return bits.activations && (wrapping == Wrapping::param_layer || wrapping == Wrapping::common_grid ||
                              wrapping == Wrapping::product || wrapping == Wrapping::fake_quant);
}

bool LayerPlan::takes_float() const { return wrapping == Wrapping::fake_quant && effect.kind != Kind::looks_up; }

bool LayerPlan::quantizes_inputs() const {
  if (!quantizes_output()) return false;
  // A convolution with float weights gets its input as it comes.
  return wrapping != Wrapping::fake_quant ||
         (takes_float() && settings.quantize_inputs.value_or(effect.kind != Kind::sums));
}

// Statistics may still be missing, as in `qgrad inspect`: they are taken to come.
std::vector<std::string> idle_layer_settings(const Effect& effect, const Bits& bits, const PostTrainOverride& settings,
                                             bool also_clip_weights) {
  const auto plan_with = [&](const std::optional<int>& bits_activations) {
    const Bits changed{bits_activations, bits.weights, bits.bias};
    LayerPlan plan{.effect = effect, .bits = changed, .settings = settings};
    plan.wrapping = wrapping_of(effect.kind, changed, settings, /*is_static=*/true);
    return plan;
  };
  const LayerPlan plan = plan_with(bits.activations);
  const bool output = plan.quantizes_output(), param_layer = plan.wrapping == Wrapping::param_layer;
  const bool weights = param_layer || plan.wrapping == Wrapping::embedding;
  const bool clips = output || (param_layer && also_clip_weights);
  const bool own_inputs = output && !settings.input_overrides.json().empty();
  PostTrainOverride half = settings;
  half.fpq_module = 16;
  const Wrapping in_float = wrapping_of(effect.kind, bits, half, /*is_static=*/true);
  const std::pair<const char*, bool> effects[] = {
      {"bits_activations", plan_with(8).quantizes_output()},
      {"bits_weights", effect.kind != Kind::none && !settings.fpq_module},
      {"mode", output || weights},
      {"per_channel_wts", param_layer},
      {"reduce_range", weights && bits.weights == 8 && bits.activations == 8},
      {"clip_acts", clips},
      {"clip_n_stds", clips && (settings.clip_acts == ClipMode::n_std || own_inputs)},
      {"clip_percentile", clips && (settings.clip_acts == ClipMode::percentile || own_inputs)},
      {"clip_half_range", output},
      {"scale_approx_mult_bits", output},
      {"inputs_quant_auto_fallback", plan.quantizes_inputs()},
      {"fpq_module", in_float == Wrapping::reduced_float || (in_float == Wrapping::fake_quant && bits.activations)},
      {"fake", settings.fpq_module.has_value()},
      {"quantize_inputs", output && plan.takes_float()},
      {"input_overrides", plan.quantizes_inputs()}};
  std::vector<std::string> idle;
  for (const auto& [key, has_effect] : effects)
    if (!has_effect) idle.emplace_back(key);
  return idle;
}

QuantSettings LayerPlan::output_settings() const {
  return {.bits = bits_output.value_or(bits.activations.value()),
          .mode = settings.mode.activations,
          .clip = settings.clip_acts,
          .n_stds = settings.clip_n_stds,
          .percentile = settings.clip_percentile,
          .half_range = settings.clip_half_range || relu || effect.is_rectifier(),
          .scale_approx_mult_bits = settings.scale_approx_mult_bits};
}

void PostTrainPlan::add(const std::string& path, const Effect& effect, const Bits& bits,
                        const PostTrainOverride& settings) {
  try {
    check_clip_settings(settings);
  } catch (const Error& e) {
    throw e.located(path);
  }
  check(!settings.fpq_module || *settings.fpq_module == 16 || *settings.fpq_module == 32,
        "{}: fpq_module: expected 16 or 32, got {}", path, settings.fpq_module.value_or(0));
  const Wrapping wrapping = wrapping_of(effect.kind, bits, settings, stats_ != nullptr);
  if (wrapping == Wrapping::none || !graph_.find(path)) return;
  layers_[path] = {
      .effect = effect, .bits = bits, .settings = settings, .wrapping = wrapping, .relu = settings.clip_half_range};
}

// The Splits that alone consume this layer's output; none where something else does too.
std::vector<const GraphNode*> PostTrainPlan::split_successors(const GraphNode& node) const {
  if (!graph_.called_once(node) || &graph_[graph_.output()] == &node) return {};
  std::vector<const GraphNode*> splits;
  for (const size_t i : node.succs) {
    if (graph_[i].effect.kind != Kind::splits || !graph_.called_once(graph_[i])) return {};
    splits.push_back(&graph_[i]);
  }
  return splits;
}

void PostTrainPlan::fuse_statistics() {
  for (const GraphNode& node : graph_.nodes()) {
    const auto layer = layers_.find(node.name);
    ModuleStats* stats = stats_->find(node.name);
    if (layer == layers_.end() || !layer->second.quantizes_output() || !stats) continue;
    const std::vector<const GraphNode*> splits = split_successors(node);
    const std::vector<const GraphNode*> consumers = splits.empty() ? std::vector{graph_.sole_successor(node)} : splits;
    std::vector<const GraphNode*> activations = consumers;
    if (!splits.empty())
      std::ranges::transform(splits, activations.begin(),
                             [&](const GraphNode* s) { return graph_.sole_successor(*s); });
    const std::optional<ValueLimits> limits = told_apart(activations, stats->output);
    if (!limits) continue;
    clip_stats(stats->output, *limits);
    for (const GraphNode* consumer : consumers)
      if (ModuleStats* after = stats_->find(consumer->name); after && !after->inputs.empty())
        after->inputs[0] = stats->output;
  }
}

void PostTrainPlan::fuse_relus() {
  for (const GraphNode& node : graph_.nodes()) {
    const auto layer = layers_.find(node.name);
    if (layer == layers_.end() || !layer->second.quantizes_output()) continue;
    const GraphNode* next = graph_.sole_successor(node);
    if (!next || !next->effect.is_rectifier()) continue;
    layer->second.relu = true;
    layer->second.relu_cap = next->effect.cap();
    fused_relus_[next->name] = node.name;
    layers_.erase(next->name);
  }
}

std::string PostTrainPlan::giver_of_grid(const std::string& path) const {
  const LayerPlan& layer = layers_.at(path);
  const GraphNode& node = *graph_.find(path);
  const bool only_moves = layer.effect.kind == Kind::moves || layer.effect.kind == Kind::splits;
  if (!only_moves || layer.relu || node.preds.size() != 1) return path;
  const auto from = carrier(graph_[node.preds[0]]);
  if (!from) return path;
  const QuantSettings own = layer.output_settings(), given = from->second.output_settings();
  const bool same = own.bits == given.bits && own.mode == given.mode && own.clip == given.clip &&
                    own.n_stds == given.n_stds && own.percentile == given.percentile;
  return same ? giver_of_grid(from->first) : path;
}

const std::map<std::string, LayerPlan>::value_type* PostTrainPlan::carrier(const GraphNode& node) const {
  const auto relu = fused_relus_.find(node.path());
  const auto layer = layers_.find(relu == fused_relus_.end() ? node.path() : relu->second);
  return layer != layers_.end() && layer->second.quantizes_output() ? &*layer : nullptr;
}

// What moves numbers on the way hands on what it gets.
void PostTrainPlan::widen(const GraphNode& node, int bits) {
  const auto found = carrier(node);
  if (!found) return;
  LayerPlan& layer = layers_.at(found->first);
  if (*layer.bits.activations < bits) layer.bits_output = bits;
  if (layer.effect.kind == Kind::moves || layer.effect.kind == Kind::splits)
    for (const size_t pred : node.preds) widen(graph_[pred], bits);
}

void PostTrainPlan::widen_sums(int bits) {
  for (const GraphNode& node : graph_.nodes()) {
    if (node.effect.kind != Kind::adds) continue;
    widen(node, bits);
    for (const size_t pred : node.preds) widen(graph_[pred], bits);
  }
}

bool PostTrainPlan::carries_quantization(const GraphNode& node) const {
  if (!node.module) return false;
  const std::string path = node.path();
  if (fused_relus_.contains(path)) return true;
  const auto layer = layers_.find(path);
  return layer != layers_.end() && (layer->second.quantizes_output() || layer->second.wrapping == Wrapping::embedding);
}

std::vector<InputQuantization> PostTrainPlan::own_inputs(const std::string& path, const LayerPlan& plan,
                                                         bool half_range) const {
  const ModuleStats* stats = stats_ ? stats_->find(path) : nullptr;
  const size_t count = stats ? stats->inputs.size() : graph_.find(path)->preds.size();
  QuantSettings settings = plan.output_settings();
  settings.bits = plan.bits.activations.value();
  settings.half_range = half_range && stats && settings.half_range;
  std::vector<InputQuantization> inputs(count,
                                        {.settings = settings, .allowed = plan.settings.inputs_quant_auto_fallback});
  const Config& overrides = plan.settings.input_overrides;
  if (!overrides.json().is_object())
    config_error(overrides.where(), "expected an object: index of an input -> settings");
  for (const auto& [key, value] : overrides.json().items()) {
    InputQuantization& input = inputs[input_index(overrides, key, count)];
    input.settings = overridden(settings, overrides.at(key));
    input.overridden = input.allowed = true;
  }
  if (stats)
    for (size_t i = 0; i < count; ++i) inputs[i].params = grid_from_stats(stats->inputs[i], inputs[i].settings);
  return inputs;
}

// The bits of the first input, which are `own` where it does not come quantized.
InputBits PostTrainPlan::input_bits(const GraphNode& layer, const LayerPlan& plan, InputBits own) {
  const auto from = carrier(graph_[layer.preds.at(0)]);
  if (!from || plan.inputs[0].requantized) return own;
  const LayerPlan& giver = from->second;
  return {giver.output_settings().bits, giver.bits_output ? "" : from->first};
}

void PostTrainPlan::plan_inputs(bool half_range) {
  struct Reading {
    InputQuantization how;
    std::string layer;
  };
  std::map<size_t, Reading> first;  // by the node that made the tensor
  for (const GraphNode& node : graph_.nodes()) {
    const auto layer = layers_.find(node.name);
    if (layer == layers_.end() || !layer->second.quantizes_inputs()) continue;
    LayerPlan& plan = layer->second;
    try {
      plan.inputs = own_inputs(node.name, plan, half_range);
    } catch (const Error& e) {
      throw e.located(node.name);
    }
    std::string settings_of = node.name;  // those of the first input
    for (size_t i = 0; i < std::min(node.preds.size(), plan.inputs.size()); ++i) {
      const auto from = carrier(graph_[node.preds[i]]);
      plan.inputs[i].requantized = plan.wrapping == Wrapping::param_layer && from && from->second.bits_output &&
                                   *from->second.bits_output > plan.inputs[i].settings.bits;
      if (carries_quantization(graph_[node.preds[i]])) continue;
      const auto [known, is_first] = first.try_emplace(node.preds[i], Reading{plan.inputs[i], node.name});
      if (is_first || plan.inputs[i].overridden) continue;
      plan.inputs[i] = known->second.how;
      plan.inputs[i].overridden = false;
      plan.inputs[i].shared = true;
      if (i == 0) settings_of = known->second.layer;
    }
    if (plan.wrapping != Wrapping::param_layer) continue;
    const Config& given = layers_.at(settings_of).settings.input_overrides;
    const bool is_given = given.json().contains("0") && given.json().at("0").contains("bits_activations");
    plan.input = input_bits(node, plan, {plan.inputs.at(0).settings.bits, is_given ? "" : settings_of});
  }
}

}  // namespace qgrad
