// Quantization after training: integer layers with scales from calibration statistics (static) or from the values of
// every batch (dynamic). Distiller range_linear.py:PostTrainLinearQuantizer, with its bugs left out.
#pragma once

#include <memory>

#include "quant/post_train/corrections.h"
#include "quant/post_train/plan.h"
#include "quant/quantizer.h"

namespace qgrad {

struct PostTrainLinearConfig : QuantizerConfig {
  PostTrainLinearConfig() {
    bits_activations = 8;
    bits_weights = 8;
  }
  int bits_accum = 32;
  std::optional<int> bits_sums;
  Arithmetic arithmetic = Arithmetic::onnx;
  PostTrainLayerSettings layers;
  bool also_clip_weights = false;
  bool save_fp_weights = false;
  bool cross_layer_equalization = false;
  bool scale_correction = false, bias_correction = false;
  std::optional<LearnedRoundingConfig> learned_rounding;
  std::optional<ReconstructionConfig> reconstruction;
  Config quant_params = Config::object("quant_params");
  Config model_activation_stats = Config::parse("null", "model_activation_stats");
  // In no config: inputs that no layer has quantized are cut with the layer's own half range, as Distiller does by
  // mistake. For parity with its numbers.
  bool inputs_keep_half_range = false;
};
inline void fields(Fields& v, PostTrainLinearConfig& c) {
  v("bits_activations", c.bits_activations, {.help = "bits of activations; null: not quantized", .min = 1, .max = 32});
  v("bits_weights", c.bits_weights, {.help = "bits of weights; null: not quantized", .min = 1, .max = 32});
  v("bits_accum", c.bits_accum, {.help = "bits of accumulators and biases", .min = 2, .max = 32});
  v("bits_sums", c.bits_sums,
    {.help = "bits that additions of activations read and give at the least, while layers with weights read "
             "bits_activations; null: the same for both",
     .min = 1,
     .max = 32});
  v("rounding", c.arithmetic,
    {.help = "arithmetic of scales and ties: onnx, which programs and ONNX files have too, or distiller, in simulation "
             "alone"});
  v("overrides", c.overrides, {.help = "module path or regular expression -> settings"});
  fields(v, c.layers);
  v("also_clip_weights", c.also_clip_weights,
    {.help = "cut the ranges of weights as clip_acts cuts those of activations"});
  v("save_fp_weights", c.save_fp_weights, {.help = "keep the float weights, so that weights can be quantized again"});
  v("cross_layer_equalization", c.cross_layer_equalization,
    {.help = "rescale the weights of neighbouring layers so that their channels have equal ranges"});
  v("scale_correction", c.scale_correction,
    {.help = "give the layers' outputs the standard deviations they have in the float model, on calibration images"});
  v("bias_correction", c.bias_correction,
    {.help = "give the layers' outputs the means they have in the float model, on calibration images"});
  v("learned_rounding", c.learned_rounding,
    {.help = "learn on calibration images whether each weight is rounded up or down; null: to nearest"});
  v("reconstruction", c.reconstruction,
    {.help =
         "learn weights, biases and steps on calibration images, block by block, so that each gives what it gives in "
         "float; null: not"});
  v("quant_params", c.quant_params,
    {.help = "scales, zero points or clipping values to set: \"<layer>.output_scale\" -> a value, or a list of them"});
  v("model_activation_stats", c.model_activation_stats,
    {.help = "calibration statistics: a file, or its content; null: dynamic quantization"});
}

// bits_accum is for the sums of products of matrices and elements, too, which Distiller leaves at 32 bits.
//
// Batch norms are folded, ReLUs computed in the layers before them, every leaf that has bits is wrapped. The model must
// be in evaluation mode when it is called afterwards.
class PostTrainLinearQuantizer final : public Quantizer {
 public:
  explicit PostTrainLinearQuantizer(PostTrainLinearConfig config);

  bool trains() const override { return false; }
  // Batch norms folded, weights equalized. Needed before calibration with cross_layer_equalization, which changes
  // activations; else prepare does it.
  void prepare_float(ModulePtr& model, const Tensor& example) const override;
  bool changes_activations() const override { return config_.cross_layer_equalization; }
  // Statistics in memory instead of model_activation_stats.
  bool wants_stats() const override { return !is_static_; }
  void set_stats(const QuantStats& stats, std::string name = "the given statistics") override;
  void check_network(Module& loaded) const override { check_stats_are_of(given_stats_, loaded, stats_name_); }
  void forgo_stats() override { config_.arithmetic = Arithmetic::distiller; }
  const QuantStats* stats_after_prepare() const override { return is_static_ ? &stats_ : nullptr; }
  // scale_correction, bias_correction, learned_rounding and reconstruction (quant/post_train/corrections.h).
  bool has_corrections() const override {
    return config_.scale_correction || config_.bias_correction || config_.learned_rounding || config_.reconstruction;
  }
  std::vector<std::string> correct(Module& model, Module& reference, std::span<const Tensor> batches,
                                   const Progress& done, KeptCorrections* kept) const override;
  std::vector<std::string> correction_keys() const override;

  Config self_contained(Config resolved) const override;  // with the statistics as they were given

 protected:
  void pre_process(ModulePtr& model, const Graph& graph) override;
  std::vector<std::string> settings_without_effect(const Site& site) const override;
  void post_process(ModulePtr& model) override;

 private:
  void check_settings(const PostTrainLayerSettings& settings) const;
  Replacement planned();
  PostTrainOverride settings_at(const Site& site) const;
  ModulePtr wrap(const std::string& path, const LayerPlan& plan, ModulePtr module) const;
  LayerQuantization layer_quantization(const std::string& path, const LayerPlan& plan) const;
  QuantSettings weight_settings_of(const LayerPlan& plan) const;  // per tensor

  PostTrainLinearConfig config_;
  bool is_static_ = false;
  std::string stats_name_;          // for messages
  QuantStats given_stats_, stats_;  // as they came, and as folding and fusion leave them
  std::optional<PostTrainPlan> plan_;
};

}  // namespace qgrad
