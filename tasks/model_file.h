// Checkpoints of whole experiments: the parameters, and in the metadata all that is needed to use them again.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "quant/quantizer.h"
#include "tasks/experiment.h"

namespace qgrad {

// What the metadata says, as JSON under the key "qgrad": {"name", "seed", "data", "model", "trained_on", "quantizer",
// "metrics"}; quantizer is null for float models. Data are as they were used: the folder that was read, the
// normalisation; and "trained_on" says what they were like.
struct ModelFile {
  ExperimentConfig experiment;
  std::optional<Config> quantizer_config;
  Described trained_on;
  ModulePtr model;                       // in evaluation mode, with the file's parameters
  std::unique_ptr<Quantizer> quantizer;  // what prepared it; null for float models
  bool guessed = false;                  // the file said nothing: model and data were guessed from its tensors
};

// A quantizer's config as results show it: calibration statistics, which are long, are left to the checkpoint's
// metadata.
Json config_for_results(const std::optional<Config>& quantizer);

// Throws where a parameter or a metric is no finite number.
void save_model(const std::filesystem::path& file, Module& model, const ExperimentConfig& experiment, const Task& task,
                const std::optional<Config>& quantizer, const Json& metrics);

// Rebuilds the model as it was saved: builds it, prepares it with its quantizer, loads the parameters. A file without
// qgrad's metadata (made by PyTorch, say) is recognised by the names and shapes of its tensors, or described by
// `config` (a file with "data" and "model", as for train). Where the metadata is there, the data of `config` are used
// instead of those that it names, and whatever else `config` says must be as it was saved.
ModelFile load_model(const std::filesystem::path& file, const std::optional<Config>& config);

// Metrics of a checkpoint's model, as Task::evaluate gives them, on what results are of.
Json evaluate(const ModelFile& file, const Task& task, const std::string& label);

// The data set of a checkpoint: in the folder of --data, or else in the one that training read. Says so where that one
// is not there any more, and the data set then is looked for where its class looks.
Config dataset_of(const ModelFile& file, const std::optional<std::string>& folder);
std::unique_ptr<Task> open_task(const ModelFile& file, const std::optional<std::string>& folder);

// What the network of a checkpoint was trained on; of files that do not say it all, what they do say.
Described described(const std::filesystem::path& checkpoint);

}  // namespace qgrad
