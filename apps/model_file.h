// Checkpoints of whole experiments: the parameters, and in the metadata all that is needed to use them again.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "apps/experiment.h"
#include "quant/quantizer.h"

namespace qgrad {

// What the metadata says, as JSON under the key "qgrad": {"name", "seed", "data", "model", "quantizer", "metrics"};
// quantizer is null for float models.
struct ModelFile {
  ExperimentConfig experiment;
  std::optional<Config> quantizer_config;
  ModulePtr model;                       // in evaluation mode, with the file's parameters
  std::unique_ptr<Quantizer> quantizer;  // what prepared it; null for float models
  bool guessed = false;                  // the file said nothing: model and data were guessed from its tensors
};

// A quantizer's config as results show it: calibration statistics, which are long, are left to the checkpoint's
// metadata.
Json config_for_results(const std::optional<Config>& quantizer);

void save_model(const std::filesystem::path& file, Module& model, const ExperimentConfig& experiment,
                const std::optional<Config>& quantizer, const Json& metrics);

// Rebuilds the model as it was saved: builds it, prepares it with its quantizer, loads the parameters. A file without
// qgrad's metadata (made by PyTorch, say) is recognised by the names and shapes of its tensors, or described by
// `config` (a file with "data" and "model", as for train), which also goes before the metadata where both are there.
ModelFile load_model(const std::filesystem::path& file, const std::optional<Config>& config);

}  // namespace qgrad
