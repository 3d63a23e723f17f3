// Which layers of a network quantization hurts: measured layer by layer, and estimated from gradients.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "quant/bit_operations.h"
#include "quant/quantizer.h"
#include "quant/ranges/stats.h"
#include "tasks/experiment.h"

namespace qgrad {

struct SensitivityConfig {
  std::vector<int> bits{8, 4, 3, 2};
  bool spare = true;
  int64_t gradient_images = 64;
};
void fields(Fields& v, SensitivityConfig& c);

// What was quantized for one measurement.
struct Probe {
  enum class What {
    nothing,
    everything,   // as the quantizer's config says
    weights,      // of one layer, with these bits
    activations,  // what one layer gives, with these bits, and what it reads that nothing else quantizes
    all_but       // as the config says, but one layer, which stays in float
  };
  What what = What::nothing;
  std::string layer = "";
  int bits = 0;
  bool operator==(const Probe&) const = default;
};
std::vector<std::pair<std::string, Probe::What>> enum_names(Probe::What*);

// What the network then gives for the calibration images.
struct Damage {
  Probe probe;
  std::optional<double> top1, loss;  // of images with labels
  double agreement = 0;              // percent of images that keep the float network's largest output
  double divergence = 0;             // of the answers' softmax from the float network's, in nats: the images' mean
  double sqnr_db = 0;                // of the first output; infinite where nothing differs
  std::optional<double> layer_sqnr_db = {};  // of what the probed layer gives for the first 16 images
  std::optional<double> estimate;            // of the squared change of the outputs, for weights
};
Json to_json(const Damage& damage);
Damage damage_of(const Json& json);
// Points of top-1 that are lost, or of agreement where there are no labels.
double lost(const Damage& damage, const Damage& of_float);

// Everything that can be measured, in order of execution: nothing, everything, then each layer of the quantizer.
// `quantizer`: a config of one that works after training. Throws what quantizing throws.
class Sensitivity {
 public:
  Sensitivity(const ExperimentConfig& experiment, Config quantizer, const CalibrationConfig& calibration,
              const ImageTask& data, const SensitivityConfig& config);

  const Json& quantizer() const { return quantizer_.json(); }  // without corrections
  const std::vector<Probe>& probes() const { return probes_; }
  Damage measure(const Probe& probe) const;
  Damage measure_config(const Json& quantizer) const;  // of the whole network, under another config
  // The numbers that a probe's bits are of: weights, or what a layer gives for one image.
  int64_t numbers_of(const Probe& probe) const;
  int own_bits(const Probe& probe) const;  // as the config has them
  // What the layers with weights do for one image, under a config of the quantizer.
  std::vector<LayerWork> work(const Json& quantizer) const;
  // The quantizer's config without bits of its own, and for every layer its settings and these bits.
  Json with_bits(const std::vector<std::pair<Probe, int>>& bits) const;
  // What rounding each layer's weights changes of the outputs, squared, as their gradients say: the mean over images of
  // (gradient of r . outputs, times the change of the weights)^2, r being normal numbers. That is the outputs' change
  // to first order, and the loss's to second, with the Gauss-Newton matrix of a squared error for its Hessian. One
  // forward and one backward pass for each image serve all layers and bits. In the order of the probes of weights.
  std::vector<double> estimates() const;

 private:
  ModulePtr float_model() const;
  Damage damage(Module& model, const Probe& probe) const;
  std::unique_ptr<Quantizer> prepare(ModulePtr& model, const Json& quantizer) const;
  ModulePtr quantized(const Json& quantizer) const;
  Json quantizer_of(const Probe& probe) const;

  const ExperimentConfig& experiment_;
  Config quantizer_;
  const ImageTask& data_;
  SensitivityConfig config_;
  QuantStats stats_;
  std::vector<Batch> images_;
  std::vector<Tensor> expected_;  // of the float network
  std::vector<Probe> probes_;
  std::vector<Quantizer::Resolved> layers_;
  std::set<std::string> quantizes_inputs_;  // layers that quantize what they read by their own settings
  std::map<std::string, int64_t> weights_;  // of each layer that has some
  int64_t examples_ = 0;                    // calibration images
};

// Spearman's correlation between two lists of equal length: of their ranks, equals sharing the mean of theirs.
double rank_correlation(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace qgrad
