// What each layer becomes under post-training quantization: decided for the whole model along its graph, before any
// module is replaced, so that no decision depends on the order of replacement.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "nn/graph.h"
#include "quant/ranges/stats.h"
#include "quant/settings.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {

// Settings that can be given for all layers and overridden for each.
struct PostTrainLayerSettings {
  ModuleQuantMode mode;
  bool per_channel_wts = false;
  bool reduce_range = false;
  ClipMode clip_acts = ClipMode::none;
  std::optional<float> clip_n_stds, clip_percentile;
  bool clip_half_range = false;
  std::optional<int> scale_approx_mult_bits;
  bool inputs_quant_auto_fallback = true;
  std::optional<int> fpq_module;
};
inline void fields(Fields& v, PostTrainLayerSettings& s) {
  v("mode", s.mode, {.help = "which integers stand for a range: a mode, or {\"activations\": .., \"weights\": ..}"});
  v("per_channel_wts", s.per_channel_wts,
    {.help = "one scale per output channel of convolutions and fully connected layers"});
  v("reduce_range", s.reduce_range,
    {.help = "weights of 8 bits that meet activations of 8 bits get 7, so that two products fit 16 bits: other "
             "runtimes need that on processors with AVX2 but without VNNI"});
  v("clip_acts", s.clip_acts, {.help = "how ranges of activations are cut"});
  v("clip_n_stds", s.clip_n_stds, {.help = "standard deviations kept by N_STD", .min = 0, .above_min = true});
  v("clip_percentile", s.clip_percentile,
    {.help = "percent of the values kept by PERCENTILE", .min = 50, .max = 100, .above_min = true});
  v("clip_half_range", s.clip_half_range,
    {.help = "only positive outputs matter: a ReLU is applied, and clip_acts looks at positive values only"});
  v("scale_approx_mult_bits", s.scale_approx_mult_bits,
    {.help = "round scales to an integer of so many bits and a shift; null: exact", .min = 2, .max = 32});
  v("inputs_quant_auto_fallback", s.inputs_quant_auto_fallback,
    {.help = "quantize inputs that no layer has quantized with the settings of the output"});
  v("fpq_module", s.fpq_module,
    {.help = "compute in float of so many bits: 16 or 32; null: quantize", .min = 16, .max = 32});
}

// What only an override can say.
struct PostTrainOverride : PostTrainLayerSettings {
  std::optional<bool>
      fake;  // with fpq_module: quantize the output of the float layer; null: for layers without integer form
  // Of layers that compute in float; null: of those without weights.
  std::optional<bool> quantize_inputs;
  // Index of an input -> {"from_output": true} or any of bits_activations, mode, clip_acts, clip_n_stds,
  // clip_percentile.
  Config input_overrides = Config::object("input_overrides");
};
inline void fields(Fields& v, PostTrainOverride& s) {
  fields(v, static_cast<PostTrainLayerSettings&>(s));
  v("fake", s.fake);
  v("quantize_inputs", s.quantize_inputs);
  v("input_overrides", s.input_overrides);
}

// Throws where the clip mode lacks the setting it needs.
void check_clip_settings(const PostTrainLayerSettings& settings);

enum class Wrapping { none, param_layer, common_grid, product, embedding, fake_quant, reduced_float };

struct LayerPlan {
  Effect effect;
  Bits bits;
  PostTrainOverride settings;
  Wrapping wrapping = Wrapping::none;
  bool relu = false;
  std::optional<float> relu_cap;
  std::vector<InputQuantization> inputs;
  std::optional<int> bits_output;  // where they are not bits.activations
  std::optional<InputBits> input;  // of a layer with quantized weights and outputs

  bool takes_float() const;  // it computes in float
  bool quantizes_output() const;
  bool quantizes_inputs() const;
  QuantSettings output_settings() const;
};

// The override keys that change nothing for a layer with this effect, given its bits and its other settings.
std::vector<std::string> idle_layer_settings(const Effect& effect, const Bits& bits, const PostTrainOverride& settings,
                                             bool also_clip_weights);

// The plans of a model, by module path.
class PostTrainPlan {
 public:
  // stats: a copy to work on, changed by the fusions; null: dynamic quantization.
  PostTrainPlan(Graph graph, QuantStats* stats) : graph_(std::move(graph)), stats_(stats) {}

  // Decides how a layer is wrapped, by Distiller's rules. Throws on settings that lack what they need.
  void add(const std::string& path, const Effect& effect, const Bits& bits, const PostTrainOverride& settings);

  // Calibrated ranges of layers whose only consumer is an activation are cut to what that one tells apart: [0, max] for
  // ReLU, [0, 6] for ReLU6, [-4, 4] for Tanh, [-6, 6] for Sigmoid; so are those of layers whose output is split, where
  // all parts go to the same activation, or to smooth ones, to what one of these tells apart
  // (Distiller _apply_activations_stats_fusion). Static only.
  void fuse_statistics();
  // A rectifier that is the only consumer of a layer with quantized outputs is computed there.
  void fuse_relus();
  // Gives what additions read and give these bits at the least; layers with weights that read such a tensor, too, put
  // it on a grid of their own bits.
  void widen_sums(int bits);
  // How each layer quantizes inputs that arrive in float. A tensor with several consumers is quantized by all of them
  // as the first one does. half_range: keep the output's half range for inputs, as Distiller does by mistake.
  void plan_inputs(bool half_range);

  const std::map<std::string, LayerPlan>& layers() const { return layers_; }
  // Whose grid a layer's output has: its own, or that of what it only moves, where both have the same settings.
  std::string giver_of_grid(const std::string& path) const;
  // Fused ReLUs -> the layers that compute them now.
  const std::map<std::string, std::string>& fused_relus() const { return fused_relus_; }

 private:
  std::vector<const GraphNode*> split_successors(const GraphNode& node) const;
  bool carries_quantization(const GraphNode& node) const;
  // Of the quantization that a node's output has; null where there is none.
  const std::map<std::string, LayerPlan>::value_type* carrier(const GraphNode& node) const;
  void widen(const GraphNode& node, int bits);
  InputBits input_bits(const GraphNode& layer, const LayerPlan& plan, InputBits own);
  std::vector<InputQuantization> own_inputs(const std::string& path, const LayerPlan& plan, bool half_range) const;

  Graph graph_;
  QuantStats* stats_;
  std::map<std::string, LayerPlan> layers_;
  std::map<std::string, std::string> fused_relus_;
};

}  // namespace qgrad
