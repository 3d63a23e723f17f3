// One safetensors file: "model/..", "best/.." and "optimizer/.." tensors, and the log of the epochs in the metadata.
#include "apps/training_state.h"

#include "nn/checkpoint.h"

namespace qgrad {
namespace {

constexpr const char* kMetadataKey = "qgrad_training";

void append(NamedTensors& all, const std::string& prefix, const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) all.emplace_back(prefix + name, tensor);
}

NamedTensors take(const NamedTensors& all, const std::string& prefix) {
  NamedTensors taken;
  for (const auto& [name, tensor] : all)
    if (name.starts_with(prefix)) taken.emplace_back(name.substr(prefix.size()), tensor);
  return taken;
}

}  // namespace

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state) {
  TensorFile content;
  append(content.tensors, "model/", model_state(model));
  append(content.tensors, "best/", state.best);
  for (const auto& [name, tensor] : optimizer.state()) content.tensors.emplace_back("optimizer/" + name, tensor);
  const Json log = {{"epochs", state.result.epochs_json()},
                    {"best_epoch", state.result.best_epoch},
                    {"best_score", state.best_score},
                    {"seconds", state.result.seconds}};
  content.metadata[kMetadataKey] = log.dump();
  write_safetensors(file, content);
}

TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer) {
  const TensorFile content = read_safetensors(file);
  const auto metadata = content.metadata.find(kMetadataKey);
  check(metadata != content.metadata.end(), "{}: is no training state", file.string());
  load_state(model, take(content.tensors, "model/"), file.string());
  std::map<std::string, Tensor> optimizer_state;
  for (const auto& [name, tensor] : take(content.tensors, "optimizer/")) optimizer_state.emplace(name, tensor);
  optimizer.load_state(optimizer_state);

  const Config log{parse_json(metadata->second, file.string()), file.string(), ""};
  TrainingState state;
  state.best = take(content.tensors, "best/");
  for (const Json& epoch : log.at("epochs").value)
    state.result.epochs.push_back(read_config<EpochLog>({epoch, file.string(), "epochs"}));
  state.result.best_epoch = log.at("best_epoch").value.get<int>();
  state.best_score = log.at("best_score").value.get<double>();
  state.result.seconds = log.at("seconds").value.get<double>();
  return state;
}

}  // namespace qgrad
