// One safetensors file: "model/..", "best/.." and "optimizer/.." tensors, and the log of the epochs in the metadata.
#include "apps/training_state.h"

#include "nn/checkpoint.h"

namespace qgrad {
namespace {

constexpr const char* kMetadataKey = "qgrad_training";

// What the metadata says.
struct TrainingLog {
  std::vector<EpochLog> epochs;
  int best_epoch = 0;
  double best_score = 0, seconds = 0;
};
template <class V>
void fields(V& v, TrainingLog& c) {
  v("epochs", c.epochs, {.required = true});
  v("best_epoch", c.best_epoch, {.min = 0, .required = true});
  v("best_score", c.best_score, {.required = true});
  v("seconds", c.seconds, {.min = 0, .required = true});
}

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
  const TrainingLog log{state.result.epochs, state.result.best_epoch, state.best_score, state.result.seconds};
  content.metadata[kMetadataKey] = write_config(log).dump();
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

  const std::string place = fmt::format("{} (metadata '{}')", file.string(), kMetadataKey);
  const auto log = read_config<TrainingLog>({parse_json(metadata->second, place), place, ""});
  TrainingState state;
  state.best = take(content.tensors, "best/");
  state.result = {log.epochs, log.best_epoch, log.seconds};
  state.best_score = log.best_score;
  return state;
}

}  // namespace qgrad
