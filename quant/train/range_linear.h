// Quantization-aware training with ranges that follow the data (Distiller's QuantAwareTrainRangeLinearQuantizer).
#pragma once

#include <vector>

#include "nn/fold.h"
#include "quant/ranges/stats.h"
#include "quant/train/fake_quant.h"
#include "quant/train/train_quantizer.h"

namespace qgrad {

// What becomes of batch norms behind convolution and linear layers.
enum class BatchNormFolding {
  none,       // they stay
  simulated,  // trained as SimulatedFoldedBatchNorm
  folded,     // folded for good before anything is quantized, in models that are trained already
};
std::vector<std::pair<std::string, BatchNormFolding>> enum_names(BatchNormFolding*);

struct QuantAwareTrainRangeLinearConfig : QuantAwareTrainConfig {
  ModuleQuantMode mode;
  float ema_decay = 0.999f;
  bool per_channel_wts = false;
  bool quantize_inputs = true;
  std::optional<int> num_bits_inputs;
  ClipMode clip_acts = ClipMode::none;
  std::optional<float> clip_percentile, clip_n_stds;
  bool clip_weights = false;
  BatchNormFolding batch_norm_folding = BatchNormFolding::none;
  Config model_activation_stats = Config::parse("null", "model_activation_stats");
  bool clamp_integers = true;  // in no config: false allows Distiller's level beyond the integer range, for parity
};
inline void fields(Fields& v, QuantAwareTrainRangeLinearConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("mode", c.mode,
    {.help = "which integers stand for a range: a mode, or one for \"activations\" and one for \"weights\""});
  v("ema_decay", c.ema_decay, {.help = "decay of the moving averages of activation ranges", .min = 0, .max = 0.999999});
  v("per_channel_wts", c.per_channel_wts, {.help = "one scale per output channel of convolution and linear weights"});
  v("quantize_inputs", c.quantize_inputs,
    {.help = "quantize the model's inputs too (but not the indices of embeddings)"});
  v("num_bits_inputs", c.num_bits_inputs,
    {.help = "bits of the model's inputs; null: bits_activations", .min = 1, .max = 32});
  v("clip_acts", c.clip_acts,
    {.help =
         "how ranges of activations are cut: they are measured once, by calibration or on the first batch, and stay; "
         "NONE: they follow the data"});
  v("clip_percentile", c.clip_percentile, {.help = "percentage of values kept by PERCENTILE", .min = 50, .max = 100});
  v("clip_n_stds", c.clip_n_stds, {.help = "standard deviations kept by N_STD", .min = 0, .above_min = true});
  v("clip_weights", c.clip_weights,
    {.help = "cut the ranges of weights to the share that has the least square error; it follows the weights"});
  v("batch_norm_folding", c.batch_norm_folding,
    {.help = "\"simulated\": quantize the weights that layers will have once their batch norms are folded into them; "
             "\"folded\": a trained model whose batch norms are folded"});
  v("model_activation_stats", c.model_activation_stats,
    {.help =
         "calibration statistics that ranges start from: a file, or its content; null: the first batches set them"});
}

// What ReLU, ReLU6, Sigmoid and Tanh give, or layers read of them, is fake-quantized, and weights before every use.
// Overrides also take "mode" (all), "ema_decay" (activations) and "per_channel_wts" (convolution and linear layers).
//
// With statistics the model can be evaluated before its first training step, as one that was quantized after training
// with the same ranges; they then count as a past that is long against ema_decay. What they set is in the state, so a
// checkpoint's config has none.
class QuantAwareTrainRangeLinearQuantizer : public TrainQuantizer {
 public:
  explicit QuantAwareTrainRangeLinearQuantizer(QuantAwareTrainRangeLinearConfig config);
  Config self_contained(Config resolved) const override;

  bool wants_stats() const override { return config_.model_activation_stats.is_null() && !stats_; }
  void set_stats(const QuantStats& stats, std::string name = "the given statistics") override;
  void check_network(Module& loaded) const override;
  // With "simulated" the model goes on to compute the same; otherwise its weights have other
  // ranges, so that those of activations should be measured again (measure_ranges_again).
  Config fold_trained(ModulePtr& model, const Tensor& example, Config resolved) const override;
  void check_can_fold() const override;
  bool ranges_change_when_folded() const override { return config_.batch_norm_folding == BatchNormFolding::none; }

 protected:
  void pre_process(ModulePtr& model, const Graph& graph) override;
  std::unique_ptr<Quantization> weight(const Site& site, const Parameter& parameter, int bits) override;
  std::unique_ptr<Quantization> activation(const Site& site, const Activation& what, int bits) override;
  std::vector<std::string> settings_without_effect(const Site& site) const override;
  static std::vector<std::string> activation_settings();  // override keys that activation() reads
  std::optional<ParamGroup> own_group() const override;
  void post_process(ModulePtr& model) override;

 private:
  FakeQuantConfig fake_quant_config(int bits) const;
  void check_clip() const;
  void start_ranges(Module& model) const;

  QuantAwareTrainRangeLinearConfig config_;
  std::optional<QuantStats> stats_;
  std::string stats_name_;  // for messages
  std::vector<FoldedBatchNorm> simulated_;
  struct Consumer {
    std::string path;
    size_t input;
  };
  struct ModelInput {
    bool quantizable;
    std::vector<Consumer> consumers;
  };
  std::vector<ModelInput> inputs_;
};

// The transform of a parameter: quantized to the range its numbers span at this moment, with a straight-through
// gradient. Scale and zero point ([1], or one per output channel) are kept as buffers, for export. (Distiller
// linear_quantize_param)
// Clipped, the range is a share of that, with the least square error among 0.9^k for 0 <= k < 20 at first, and from
// then on, in each training forward, a factor of 0.9 less or more where that has a smaller one.
struct LinearQuantizeParamConfig {
  int bits = 8;
  LinearQuantMode mode = LinearQuantMode::symmetric;
  bool per_channel = false;
  bool clamp_integers = true;
  bool clip = false;
};
class LinearQuantizeParam final : public Quantization {
 public:
  explicit LinearQuantizeParam(const LinearQuantizeParamConfig& config, const Shape& parameter);
  std::optional<ChannelGrid> grid(const Tensor& quantized) const override;
  std::string_view kind() const override { return "LinearQuantizeParam"; }
  std::string describe() const override;
  void forget_range() override;

 private:
  LinearQuantizeParamConfig config_;

 public:
  Buffer scale, zero_point;

 protected:
  Tensor quantized(const Tensor& parameter) override;

 private:
  ChannelGrid grid_now(const Tensor& parameter);
  void follow(const Tensor& parameter, const std::vector<ValueRange>& full, const QuantSettings& settings);

  std::optional<Buffer> share_;  // of the range; 0: not measured yet. None where it is not clipped.
};

}  // namespace qgrad
