// What is replaced, what is transformed, and the wrapper around the model.
#include "quant/train/range_linear.h"

#include <algorithm>
#include <nlohmann/json.hpp>

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

}  // namespace

std::vector<std::pair<std::string, BatchNormFolding>> enum_names(BatchNormFolding*) {
  return {{"none", BatchNormFolding::none},
          {"simulated", BatchNormFolding::simulated},
          {"folded", BatchNormFolding::folded}};
}

QuantAwareTrainRangeLinearQuantizer::QuantAwareTrainRangeLinearQuantizer(QuantAwareTrainRangeLinearConfig config)
    : TrainQuantizer(config), config_(std::move(config)) {
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
          .clamp_integers = config_.clamp_integers};
}

void QuantAwareTrainRangeLinearQuantizer::set_stats(const QuantStats& stats, std::string name) {
  stats_ = stats;
  stats_name_ = std::move(name);
}

void QuantAwareTrainRangeLinearQuantizer::pre_process(ModulePtr& model, const Graph& graph) {
  if (std::optional<NamedStats> given = stats_from_config(config_.model_activation_stats))
    set_stats(given->stats, given->name);
  if (stats_) check_stats_describe(*stats_, *model, graph, stats_name_);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    if (graph[i].kind != "input") continue;
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
                                           .clamp_integers = config_.clamp_integers};
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
      range->set_range({static_cast<float>(of.min), static_cast<float>(of.max)});
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
    range->set_range({static_cast<float>(of_layer[index].min), static_cast<float>(of_layer[index].max)});
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
  params_from_range(config.bits, config.mode, -1, 1);  // checks the bits
}

std::vector<float> LinearQuantizeParam::integer_scale(const Tensor&) const {
  return {scale().data().begin(), scale().data().end()};
}

std::string LinearQuantizeParam::describe() const {
  return fmt::format("bits={}, mode={}{}{}", config_.bits, enum_name(config_.mode),
                     config_.per_channel ? ", per channel" : "", config_.clamp_integers ? "" : ", unclamped");
}

Tensor LinearQuantizeParam::forward(const Tensor& parameter) {
  if (!bits()) return parameter;
  const QuantSettings settings{.bits = *bits(), .mode = config_.mode, .per_channel = config_.per_channel};
  const LinearQuantParams params = params_from_tensor(parameter, settings, Slices::output_channels);
  scale.set(vector_of(params.scale));
  zero_point.set(vector_of(params.zero_point));
  SteOptions options;
  if (config_.clamp_integers) options.integers = quantized_range(*bits(), config_.mode);
  return linear_quantize_ste(parameter, params, options);
}

}  // namespace qgrad
