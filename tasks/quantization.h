// Steps of quantizing a model that several commands share.
#pragma once

#include <memory>

#include "quant/quantizer.h"
#include "quant/ranges/stats.h"
#include "tasks/experiment.h"

namespace qgrad {

// The task as one of images; throws where it is another.
const ImageTask& images_of(const Task& task);

// Throws where the config names statistics, for what measures them itself.
void check_measures(const CalibrationConfig& config);

// Whatever is wrong with a command's `key`, where it is given, before anything runs: more images than there are, or
// augmentations where nothing is corrected, or more of them than the memory is to keep.
void check_calibration(const Task& task, const std::optional<CalibrationConfig>& config, const std::string& file,
                       const char* key, bool corrects = false);

// Statistics measured on the config's training images.
QuantStats calibration_stats(Module& model, const ImageTask& data, const CalibrationConfig& config,
                             const std::string& label);

// Throws where statistics that either config names are known to be of another network than the one that was loaded.
void check_statistics(Module& loaded, const Config& quantizer, const std::optional<CalibrationConfig>& calibration);

struct Quantized {
  std::unique_ptr<Quantizer> quantizer;
  Config config;  // as the quantizer resolved it
  // After post-training quantization: the float model with its batch norms folded, and calibration images in batches,
  // to compare the quantized model with it.
  ModulePtr reference;
  std::vector<Tensor> images;
};

// What a model is quantized by.
struct QuantizationSetup {
  const Config& architecture;  // that the model was built from
  const Config& quantizer;
  const Task& task;
  std::string label;  // of progress and notes
  // Empty: quantizers that take statistics get none, for dynamic quantization, or ranges from the first batches.
  std::optional<CalibrationConfig> calibration = std::nullopt;
  Optimizer* optimizer = nullptr;  // holds the model's parameters, and gets the quantizer's own groups
  KeptCorrections* kept = nullptr;
  // Keeps the statistics of a model for further calls with the same parameters and calibration: none at first.
  std::optional<QuantStats>* measured = nullptr;
};

// Creates the quantizer and prepares the model with it. Quantizers that take statistics are calibrated first, unless
// their config names some itself. Throws where images are needed and the task has none.
Quantized quantize_model(ModulePtr& model, const QuantizationSetup& setup);

// The reference of a finished run of `qgrad quantize` again, from its resolved config.
ModulePtr float_reference(const Config& config, const ImageTask& images);

bool is_post_training(const Config& quantizer);
bool has_corrections(const Config& quantizer);
// For searches, which come before corrections: a config without them, and those of one config given to another.
Config without_corrections(Config quantizer);
void add_corrections(const Config& from, Json& to);

// Throws what preparing the experiment's model with this quantizer would throw, and what the prepared model would say
// to an image: on a few calibration images, without corrections.
void check_post_training(const ExperimentConfig& experiment, Config quantizer, const Task& task,
                         std::optional<CalibrationConfig> calibration);

// The bytes a model's parameters take when every quantized one is packed at its bit width and the others are float32;
// without the float weights that save_fp_weights keeps beside them.
int64_t packed_bytes(Module& model, const Quantizer* quantizer);

// What each layer got: a list of {"path", "kind", "bits_weights", "bits_activations", "bits_bias", "settings",
// "pattern"}.
Json resolved_layers(const Quantizer& quantizer);

}  // namespace qgrad
