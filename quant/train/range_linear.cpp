// What is replaced, what is transformed, and the wrapper around the model.
#include "quant/train/range_linear.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>

#include "core/tape.h"
#include "quant/ranges/ranges.h"
#include "quant/train/simulated_folding.h"
#include "quant/train/ste.h"
#include "quant/wrappers.h"

namespace qgrad {
namespace {

const Registered<Quantizer, QuantAwareTrainRangeLinearQuantizer, QuantAwareTrainRangeLinearConfig> range_linear{
    "QuantAwareTrainRangeLinearQuantizer",
    "in training: ranges that follow the data, as in Distiller and TensorFlow (Jacob et al. 2018)"};

struct ActivationSettings {
  ModuleQuantMode mode;
  float ema_decay = 0;
};
void fields(Fields& v, ActivationSettings& s) {
  v("mode", s.mode);
  v("ema_decay", s.ema_decay, {.min = 0, .max = 0.999999});
}

struct WeightSettings {
  ModuleQuantMode mode;
  bool per_channel_wts = false;
};
void fields(Fields& v, WeightSettings& s) {
  v("mode", s.mode);
  v("per_channel_wts", s.per_channel_wts);
}

// A parameter can have one scale per output channel when it is the weight of a convolution or linear layer: neither
// embeddings nor biases.
bool has_output_channels(const Parameter& parameter) {
  return parameter.raw().rank() > 1 && parameter.owner().effect().kind == Effect::Kind::sums;
}

Tensor vector_of(const std::vector<float>& values) {
  return Tensor::from({static_cast<int64_t>(values.size())}, values);
}

constexpr float kShareFactor = 0.9f;
constexpr int kFirstShares = 20;

std::vector<float> powers(float base, int count) {
  std::vector<float> all{1};
  while (std::ssize(all) < count) all.push_back(all.back() * base);
  return all;
}

ChannelGrid grid_of_shares(std::vector<ValueRange> ranges, std::span<const float> share,
                           const QuantSettings& settings) {
  for (size_t c = 0; c < ranges.size(); ++c) ranges[c] = {share[c] * ranges[c].min, share[c] * ranges[c].max};
  return grid_from_ranges(ranges, settings);
}

// Of each channel, the last dimension, or of all numbers.
std::vector<double> square_errors(const Tensor& x, const ChannelGrid& grid) {
  const Tensor y = linear_quantize_ste(x, grid);
  const size_t channels = grid.scale.size();
  std::vector<double> errors(channels);
  for (size_t i = 0, c = 0; i < x.data().size(); ++i, c = c + 1 == channels ? 0 : c + 1) {
    const double distance = y.data()[i] - x.data()[i];
    errors[c] += distance * distance;
  }
  return errors;
}

}  // namespace

std::vector<std::pair<std::string, BatchNormFolding>> enum_names(BatchNormFolding*) {
  return {{"none", BatchNormFolding::none},
          {"simulated", BatchNormFolding::simulated},
          {"folded", BatchNormFolding::folded}};
}

QuantAwareTrainRangeLinearQuantizer::QuantAwareTrainRangeLinearQuantizer(QuantAwareTrainRangeLinearConfig config)
    : TrainQuantizer(config), config_(std::move(config)) {
  check_clip();
  quantize_activations(Rectifiers::behind, activation_settings(), activation_settings());
  weight_settings = keys_of<WeightSettings>();
}

std::vector<std::string> QuantAwareTrainRangeLinearQuantizer::activation_settings() {
  return keys_of<ActivationSettings>();
}

std::unique_ptr<Quantization> QuantAwareTrainRangeLinearQuantizer::activation(const Site& site, const Activation&,
                                                                              int bits) {
  const auto settings = site.settings_onto(ActivationSettings{config_.mode, config_.ema_decay});
  FakeQuantConfig fake_quant = fake_quant_config(bits);
  fake_quant.mode = settings.mode.activations;
  fake_quant.ema_decay = settings.ema_decay;
  return std::make_unique<FakeLinearQuantization>(fake_quant);
}

FakeQuantConfig QuantAwareTrainRangeLinearQuantizer::fake_quant_config(int bits) const {
  return {.bits = bits,
          .mode = config_.mode.activations,
          .ema_decay = config_.ema_decay,
          .clamp_integers = config_.clamp_integers,
          .clip = config_.clip_acts,
          .clip_percentile = config_.clip_percentile,
          .clip_n_stds = config_.clip_n_stds};
}

// What the clip mode needs, and nothing else.
void QuantAwareTrainRangeLinearQuantizer::check_clip() const {
  const auto belongs = [this](const std::optional<float>& setting, const char* key, ClipMode mode) {
    check(setting.has_value() == (config_.clip_acts == mode), "{}: expected with clip_acts {}, and with no other", key,
          enum_name(mode));
  };
  belongs(config_.clip_percentile, "clip_percentile", ClipMode::percentile);
  belongs(config_.clip_n_stds, "clip_n_stds", ClipMode::n_std);
}

void QuantAwareTrainRangeLinearQuantizer::set_stats(const QuantStats& stats, std::string name) {
  stats_ = stats;
  stats_name_ = std::move(name);
}

void QuantAwareTrainRangeLinearQuantizer::check_network(Module& loaded) const {
  if (const std::optional<NamedStats> given = stats_from_config(config_.model_activation_stats))
    check_stats_are_of(given->stats, loaded, given->name);
}

void QuantAwareTrainRangeLinearQuantizer::pre_process(ModulePtr& model, const Graph& graph) {
  if (std::optional<NamedStats> given = stats_from_config(config_.model_activation_stats))
    set_stats(given->stats, given->name);
  if (stats_) check_stats_describe(*stats_, *model, graph, stats_name_);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (!graph[i].is_input()) continue;
    ModelInput input{.quantizable = true, .consumers = {}};
    for (const size_t s : graph[i].succs) {
      if (graph[s].effect.kind == Effect::Kind::looks_up) input.quantizable = false;
      const auto at = std::ranges::find(graph[s].preds, i) - graph[s].preds.begin();
      if (graph[s].module) input.consumers.push_back({graph[s].module->path(), static_cast<size_t>(at)});
    }
    inputs_.push_back(std::move(input));
  }
  if (config_.batch_norm_folding == BatchNormFolding::folded) fold_batch_norms(model, graph);
  if (config_.batch_norm_folding != BatchNormFolding::simulated) return;
  simulated_ = foldable_batch_norms(graph);
  // Folded layers have a bias, which may be quantized.
  for (const FoldedBatchNorm& pair : simulated_) give_bias(layer_parameters(*graph.find(pair.layer)->module));
}

// Parameters that an optimizer holds would be gone.
std::optional<ParamGroup> QuantAwareTrainRangeLinearQuantizer::own_group() const {
  check(config_.batch_norm_folding != BatchNormFolding::folded,
        "batch_norm_folding: \"folded\" is for models that are trained already; train with \"simulated\"");
  return std::nullopt;
}

std::unique_ptr<Quantization> QuantAwareTrainRangeLinearQuantizer::weight(const Site& site, const Parameter& parameter,
                                                                          int bits) {
  const auto settings = site.settings_onto(WeightSettings{config_.mode, config_.per_channel_wts});
  const LinearQuantizeParamConfig quantize{.bits = bits,
                                           .mode = settings.mode.weights,
                                           .per_channel = settings.per_channel_wts && has_output_channels(parameter),
                                           .clamp_integers = config_.clamp_integers,
                                           .clip = config_.clip_weights};
  return std::make_unique<LinearQuantizeParam>(quantize, parameter.raw().shape());
}

std::vector<std::string> QuantAwareTrainRangeLinearQuantizer::settings_without_effect(const Site& site) const {
  if (site.effect.kind != Effect::Kind::looks_up && site.bits.weights) return {};
  return {"per_channel_wts"};
}

void QuantAwareTrainRangeLinearQuantizer::post_process(ModulePtr& model) {
  simulate_folded_batch_norms(model, simulated_);
  const std::optional<int> bits = config_.num_bits_inputs ? config_.num_bits_inputs : config_.bits_activations;
  std::vector<ModulePtr> quantizations;
  for (const ModelInput& input : inputs_)
    quantizations.push_back(
        input.quantizable && bits ? std::make_unique<FakeLinearQuantization>(fake_quant_config(*bits)) : nullptr);
  if (config_.quantize_inputs && std::ranges::any_of(quantizations, [](const ModulePtr& q) { return q != nullptr; }))
    model = std::make_unique<ModelInputsWrapper>(std::move(model), std::move(quantizations));
  if (stats_) start_ranges(*model);
}

void QuantAwareTrainRangeLinearQuantizer::start_ranges(Module& model) const {
  std::map<const Module*, std::string> reader;  // of what an input's quantization gives
  visit_modules<QuantizationWrapper>(model, [&](QuantizationWrapper& wrapper) {
    if (wrapper.of_input()) reader[wrapper.quantization.get()] = wrapper.path();
    if (auto* range = wrapper.quantization.as<FakeLinearQuantization>()) {
      const auto outer = reader.find(&wrapper);
      const std::string path = outer != reader.end() ? outer->second : wrapper.path();
      const bool of_input = outer != reader.end() || wrapper.of_input();
      const TensorStats& of = of_input ? stats_->at(path).inputs.at(0) : stats_->at(path).output;
      range->start_from(of);
    }
  });
  for (size_t i = 0; i < inputs_.size(); ++i) {
    FakeLinearQuantization* range = nullptr;
    visit_modules<FakeLinearQuantization>(model, [&](FakeLinearQuantization& of) {
      if (of.path() == ModelInputsWrapper::name_of(i)) range = &of;
    });
    if (!range) continue;
    check(!inputs_[i].consumers.empty(), "statistics: no layer takes the model's input {}", i);
    const auto& [path, index] = inputs_[i].consumers.front();
    const std::vector<TensorStats>& of_layer = stats_->at(path).inputs;
    check(index < of_layer.size(), "statistics: {} has {} inputs, expected {}", path, of_layer.size(), index + 1);
    range->start_from(of_layer[index]);
  }
}

Config QuantAwareTrainRangeLinearQuantizer::self_contained(Config resolved) const {
  resolved.json()["model_activation_stats"] = nullptr;
  return resolved;
}

void QuantAwareTrainRangeLinearQuantizer::check_can_fold() const {
  check(config_.batch_norm_folding != BatchNormFolding::folded, "the model's batch norms are folded already");
  check(config_.batch_norm_folding == BatchNormFolding::simulated || !config_.bits_bias,
        "folding makes biases that training did not quantize: leave out bits_bias, or train with "
        "batch_norm_folding \"simulated\"");
}

Config QuantAwareTrainRangeLinearQuantizer::fold_trained(ModulePtr& model, const Tensor& example,
                                                         Config resolved) const {
  check_can_fold();
  if (config_.batch_norm_folding == BatchNormFolding::simulated) {
    fold_simulated_batch_norms(model);
  } else {
    fold_batch_norms(model, Graph::trace(*model, example));
  }
  resolved.json()["batch_norm_folding"] = "folded";
  return resolved;
}

LinearQuantizeParam::LinearQuantizeParam(const LinearQuantizeParamConfig& config, const Shape& parameter)
    : Quantization(config.bits),
      config_(config),
      scale(buffer("scale", Tensor::full({config.per_channel ? parameter[-1] : 1}, 1))),
      zero_point(buffer("zero_point", Tensor::zeros({config.per_channel ? parameter[-1] : 1}))) {
  grid_from_range(config.bits, config.mode, -1, 1);  // checks the bits
  if (config.clip) share_.emplace(*this, "share", Tensor::zeros(scale().shape()));
}

std::optional<ChannelGrid> LinearQuantizeParam::grid(const Tensor&) const {
  const auto numbers_of = [](const Buffer& buffer) {
    return std::vector<float>(buffer().data().begin(), buffer().data().end());
  };
  return ChannelGrid(numbers_of(scale), numbers_of(zero_point), quantized_range(own_bits(), config_.mode));
}

std::string LinearQuantizeParam::describe() const {
  return fmt::format("bits={}, mode={}{}{}{}", config_.bits, enum_name(config_.mode),
                     config_.per_channel ? ", per channel" : "", config_.clip ? ", clipped" : "",
                     config_.clamp_integers ? "" : ", unclamped");
}

void LinearQuantizeParam::forget_range() {
  if (share_) share_->set(Tensor::zeros(scale().shape()));
}

Tensor LinearQuantizeParam::quantized(const Tensor& parameter) {
  if (!bits()) return parameter;
  ChannelGrid grid = grid_now(parameter);
  scale.set(vector_of(grid.scale));
  zero_point.set(vector_of(grid.zero_point));
  if (!config_.clamp_integers) grid.integers = {};
  return linear_quantize_ste(parameter, grid);
}

ChannelGrid LinearQuantizeParam::grid_now(const Tensor& parameter) {
  const QuantSettings settings{.bits = *bits(), .mode = config_.mode, .per_channel = config_.per_channel};
  if (!share_) return grid_from_tensor(parameter, settings, Slices::output_channels);
  const std::vector<ValueRange> full = range_from_tensor(parameter, settings, Slices::output_channels);
  if ((training() && !frozen()) || (*share_)().data()[0] == 0) follow(parameter, full, settings);
  return grid_of_shares(full, (*share_)().data(), settings);
}

void LinearQuantizeParam::follow(const Tensor& parameter, const std::vector<ValueRange>& full,
                                 const QuantSettings& settings) {
  const Tape::Paused paused;
  std::vector<float> share((*share_)().data().begin(), (*share_)().data().end());
  const bool first = share[0] == 0;
  if (first) std::ranges::fill(share, 1.0f);
  const std::vector<float> factors =
      first ? powers(kShareFactor, kFirstShares) : std::vector<float>{1, kShareFactor, 1 / kShareFactor};
  std::vector<float> best = share;
  std::vector<double> least(share.size(), std::numeric_limits<double>::infinity());
  for (const float factor : factors) {
    std::vector<float> tried = share;
    for (float& s : tried) s = std::min(1.0f, s * factor);
    const std::vector<double> errors = square_errors(parameter, grid_of_shares(full, tried, settings));
    for (size_t c = 0; c < share.size(); ++c)
      if (errors[c] < least[c]) {
        least[c] = errors[c];
        best[c] = tried[c];
      }
  }
  share_->set(vector_of(best));
}

}  // namespace qgrad
