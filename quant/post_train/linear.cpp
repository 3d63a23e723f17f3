// Folding and its statistics, the plan, and the wrappers it asks for.
#include "quant/post_train/linear.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nn/fold.h"
#include "nn/layers/activation.h"
#include "quant/post_train/equalization.h"
#include "quant/ranges/from_histogram.h"
#include "quant/simulation/eltwise.h"
#include "quant/simulation/embedding.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"

namespace qgrad {
namespace {

constexpr const char* kNoBiasBits = "biases of a model quantized after training get bits_accum bits";

FloatPrecision precision_of(const LayerPlan& plan) {
  return plan.settings.fpq_module == 16 ? FloatPrecision::half : FloatPrecision::single;
}

// ACIQ's tables for positive values expect the moments from before the ReLU.
TensorStats output_stats(const LayerPlan& plan, const ModuleStats& stats) {
  TensorStats output = stats.output;
  if (plan.effect.is_rectifier() && !stats.inputs.empty()) {
    output.mean = stats.inputs[0].mean;
    output.std = stats.inputs[0].std;
    output.b = stats.inputs[0].b;
  }
  return output;
}

// Whether a clip mode that needs histograms is chosen anywhere in a config.
bool names_histogram_mode(const Json& config) {
  return std::ranges::any_of(config.items(), [](const auto& item) {
    if (item.key() != "clip_acts") return item.value().is_structured() && names_histogram_mode(item.value());
    return std::ranges::any_of(enum_names(static_cast<ClipMode*>(nullptr)), [&](const auto& mode) {
      return needs_histogram(mode.second) && item.value() == mode.first;
    });
  });
}

// A layer must have a bias for it to be corrected.
void give_biases(Module& model) {
  visit_modules(model, [](Module& module) {
    if (module.weighted_sum()) give_bias(layer_parameters(module));
  });
}

void set_quant_params(Module& model, const Config& params) {
  if (!params.json().is_object())
    config_error(params.where(), "expected an object: name of a scale, zero point or clipping -> values");
  for (const auto& [name, value] : params.json().items()) {
    const Config at{value.is_array() ? value : Json::array({value}), params.file, params.path + "." + name};
    std::vector<float> values;
    read_onto(values, at);
    try {
      named_quant_param(model, name).set(values);
    } catch (const Error& e) {
      config_error(at.where(), "{}", e.what());
    }
  }
}

}  // namespace

PostTrainLinearQuantizer::PostTrainLinearQuantizer(PostTrainLinearConfig config)
    : Quantizer(config), config_(std::move(config)) {
  if (std::optional<NamedStats> given = stats_from_config(config_.model_activation_stats)) {
    given_stats_ = std::move(given->stats);
    stats_name_ = std::move(given->name);
    is_static_ = true;
  }
  check_settings(config_.layers);
  check(!config_.bits_bias, "bits_bias: {}", kNoBiasBits);

  default_replacement = planned();
}

void PostTrainLinearQuantizer::check_settings(const PostTrainLayerSettings& settings) const {
  check_clip_settings(settings);
  check(!settings.scale_approx_mult_bits || config_.arithmetic == Arithmetic::distiller,
        "scale_approx_mult_bits needs \"rounding\": \"distiller\": ONNX's arithmetic has no approximated scales");
}

void PostTrainLinearQuantizer::set_stats(const QuantStats& stats, std::string name) {
  given_stats_ = stats;
  stats_name_ = std::move(name);
  is_static_ = true;
}

std::vector<std::string> PostTrainLinearQuantizer::correction_keys() const {
  return {"scale_correction", "bias_correction", "learned_rounding", "reconstruction"};
}

// Replacing waits until every layer's settings are known (post_process).
Replacement PostTrainLinearQuantizer::planned() {
  const auto note = [this](const Site& site, ModulePtr module) -> ModulePtr {
    if (!plan_) plan_.emplace(site.graph, is_static_ ? &stats_ : nullptr);
    if (site.bits.bias) config_error(site.settings.where("bits_bias"), "{}", kNoBiasBits);
    const PostTrainOverride settings = settings_at(site);
    placed_at(site.settings, [&] { check_settings(settings); });
    plan_->add(site.path, site.effect, site.bits, settings);
    return module;
  };
  Replacement replacement(note, keys_of<PostTrainOverride>());
  replacement.counts_without_bits = true;  // fpq_module
  return replacement;
}

PostTrainOverride PostTrainLinearQuantizer::settings_at(const Site& site) const {
  PostTrainOverride defaults;
  static_cast<PostTrainLayerSettings&>(defaults) = config_.layers;
  return site.settings_onto(defaults);
}

std::vector<std::string> PostTrainLinearQuantizer::settings_without_effect(const Site& site) const {
  std::vector<std::string> idle =
      idle_layer_settings(site.effect, site.bits, settings_at(site), config_.also_clip_weights);
  const GraphNode* node = site.graph.find(site.path);
  const GraphNode* next = node ? site.graph.sole_successor(*node) : nullptr;
  if (site.effect.is_rectifier() || (site.bits.activations && next && next->effect.is_rectifier()))
    idle.emplace_back("clip_half_range");
  return idle;
}

void PostTrainLinearQuantizer::pre_process(ModulePtr& model, const Graph& graph) {
  stats_ = given_stats_;
  check_stats_describe(stats_, *model, graph, stats_name_);
  stats_.network.clear();  // it changes from here on
  for (const FoldedBatchNorm& folded : fold_batch_norms(model, graph)) {
    ModuleStats* layer = stats_.find(folded.layer);
    const ModuleStats* batch_norm = stats_.find(folded.batch_norm);
    if (!layer || !batch_norm)
      continue;  // statistics of the folded model, or an incomplete file: stats_.at() will say so
    layer->output = batch_norm->output;
    stats_.erase(folded.batch_norm);
  }
  if (config_.bias_correction) give_biases(*model);
  if (config_.cross_layer_equalization) {
    const std::vector<EqualizedPair> changed = equalize_cross_layer(*model, graph);
    check(
        changed.empty() || !is_static_,
        "cross_layer_equalization changes activations ({} and {} among others): the statistics must be collected after "
        "prepare_float",
        changed.empty() ? "" : changed[0].first, changed.empty() ? "" : changed[0].second);
  }
  if (config_.arithmetic == Arithmetic::onnx) batch_norms_to_convolutions(model);
}

void PostTrainLinearQuantizer::prepare_float(ModulePtr& model, const Tensor& example) const {
  const bool training = model->training();
  const Graph graph = Graph::trace(*model, example);
  fold_batch_norms(model, graph);
  if (config_.cross_layer_equalization) equalize_cross_layer(*model, graph);
  if (config_.arithmetic == Arithmetic::onnx) batch_norms_to_convolutions(model);
  model->set_training(training);
}

std::vector<std::string> PostTrainLinearQuantizer::correct(Module& model, Module& reference,
                                                           std::span<const Tensor> batches, const Progress& done,
                                                           KeptCorrections* kept) const {
  return correct_layers(model, reference, batches,
                        {.learned_rounding = config_.learned_rounding,
                         .scale_correction = config_.scale_correction,
                         .bias_correction = config_.bias_correction,
                         .reconstruction = config_.reconstruction},
                        done, kept);
}

void PostTrainLinearQuantizer::post_process(ModulePtr& model) {
  if (!plan_) return set_quant_params(*model, config_.quant_params);  // nothing has bits
  if (is_static_) {
    for (const auto& [path, plan] : plan_->layers())
      if (plan.quantizes_output()) stats_.at(path, stats_name_);
    plan_->fuse_statistics();
  }
  plan_->fuse_relus();
  for (const auto& [relu, layer] : plan_->fused_relus()) quantized_by(relu, layer);
  if (config_.bits_sums) plan_->widen_sums(*config_.bits_sums);
  plan_->plan_inputs(config_.inputs_keep_half_range);
  for (const auto& [path, plan] : plan_->layers()) reads(path, plan.input);
  model = rewrite(std::move(model), [this](const std::string& path, ModulePtr module) -> ModulePtr {
    if (plan_->fused_relus().contains(path)) return std::make_unique<Identity>();
    const auto layer = plan_->layers().find(path);
    if (layer == plan_->layers().end()) return module;
    try {
      return wrap(path, layer->second, std::move(module));
    } catch (const Error& e) {
      throw e.is_located() ? e : e.located(path);
    }
  });
  set_quant_params(*model, config_.quant_params);
}

LayerQuantization PostTrainLinearQuantizer::layer_quantization(const std::string& path, const LayerPlan& plan) const {
  LayerQuantization quantization{.inputs = plan.inputs,
                                 .bits_accum = config_.bits_accum,
                                 .arithmetic = config_.arithmetic,
                                 .relu = plan.relu,
                                 .relu_cap = plan.relu_cap};
  if (!plan.quantizes_output()) return quantization;
  if (config_.arithmetic == Arithmetic::onnx)
    check(is_static_,
          "without calibration statistics scales come from the values of every batch, which \"rounding\": \"onnx\" has "
          "no form for: give statistics, or \"rounding\": \"distiller\"");
  const std::string giver = config_.arithmetic == Arithmetic::onnx ? plan_->giver_of_grid(path) : path;
  const LayerPlan& given = plan_->layers().at(giver);
  quantization.output = given.output_settings();
  if (is_static_)
    quantization.output_params =
        grid_from_stats(output_stats(given, stats_.at(giver, stats_name_)), *quantization.output);
  return quantization;
}

QuantSettings PostTrainLinearQuantizer::weight_settings_of(const LayerPlan& plan) const {
  const bool reduced = plan.settings.reduce_range && plan.bits.weights == 8 && plan.bits.activations == 8;
  QuantSettings settings{.bits = reduced ? 7 : *plan.bits.weights, .mode = plan.settings.mode.weights};
  if (!config_.also_clip_weights) return settings;
  settings.clip = plan.settings.clip_acts;
  settings.n_stds = plan.settings.clip_n_stds;
  settings.percentile = plan.settings.clip_percentile;
  return settings;
}

ModulePtr PostTrainLinearQuantizer::wrap(const std::string& path, const LayerPlan& plan, ModulePtr module) const {
  switch (plan.wrapping) {
    case Wrapping::none:
      return module;
    case Wrapping::reduced_float:
      return std::make_unique<FPWrapper>(std::move(module), precision_of(plan));
    case Wrapping::embedding: {
      QuantSettings settings = weight_settings_of(plan);
      if (config_.also_clip_weights) settings.half_range = plan.settings.clip_half_range;
      const ModuleStats* stats = is_static_ ? &stats_.at(path, stats_name_) : nullptr;
      return std::make_unique<RangeLinearEmbeddingWrapper>(
          std::move(module), WeightQuantization{settings, config_.save_fp_weights}, stats ? &stats->output : nullptr);
    }
    case Wrapping::param_layer: {
      QuantSettings settings = weight_settings_of(plan);
      settings.per_channel = plan.settings.per_channel_wts;
      return std::make_unique<RangeLinearQuantParamLayerWrapper>(std::move(module), layer_quantization(path, plan),
                                                                 WeightQuantization{settings, config_.save_fp_weights});
    }
    case Wrapping::common_grid:
    case Wrapping::product:
      if (config_.arithmetic == Arithmetic::onnx)
        return std::make_unique<RangeLinearFakeQuantWrapper>(std::move(module), layer_quantization(path, plan),
                                                             FloatPrecision::single);
      if (plan.wrapping == Wrapping::product)
        return std::make_unique<RangeLinearQuantProductWrapper>(std::move(module), layer_quantization(path, plan));
      return std::make_unique<RangeLinearQuantCommonGridWrapper>(std::move(module), layer_quantization(path, plan));
    case Wrapping::fake_quant:
      return std::make_unique<RangeLinearFakeQuantWrapper>(std::move(module), layer_quantization(path, plan),
                                                           precision_of(plan));
  }
  return module;
}

Config PostTrainLinearQuantizer::self_contained(Config config) const {
  if (!is_static_) return config;
  Json& resolved = config.json();
  QuantStats stats = given_stats_;
  resolved.erase("model_activation_stats");
  if (!names_histogram_mode(resolved)) stats.drop_histograms();
  stats.network.clear();  // the checkpoint has its numbers after they were quantized
  resolved["model_activation_stats"] = stats_to_json(stats);
  return config;
}

namespace {
const Registered<Quantizer, PostTrainLinearQuantizer, PostTrainLinearConfig> post_train_linear{
    "PostTrainLinearQuantizer",
    "after training: calibrated ranges, with corrections and searches; runs as an integer program"};
}

}  // namespace qgrad
