// One safetensors file: "model/..", "best/.." and "optimizer/.." tensors, and the log of the epochs in the metadata.
#include "tasks/training_state.h"

#include <nlohmann/json.hpp>
#include <set>

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

TrainingState log_of(const TensorFile& content, const std::filesystem::path& file) {
  const auto metadata = content.metadata.find(kMetadataKey);
  check(metadata != content.metadata.end(), "{}: is no training state", file.string());
  const std::string place = fmt::format("{} (metadata '{}')", file.string(), kMetadataKey);
  return read_config<TrainingState>({parse_json(metadata->second, place), place, ""});
}

// Epochs to come, and what changes no result.
const std::set<std::string> kMayChange = {"train.epochs", "data.loader_threads", "data.eval_batch_size",
                                          "data.dataset.dir"};

void compare(const std::string& path, const Json& before, const Json& now, std::vector<std::string>& differences) {
  if (before == now || kMayChange.contains(path)) return;
  if (!before.is_object() || !now.is_object()) {
    differences.push_back(fmt::format("{} is {}, but was {}", path, json_line(now), json_line(before)));
    return;
  }
  Json keys = before;
  keys.update(now);
  for (const auto& [key, value] : keys.items())
    compare(path.empty() ? key : path + "." + key, before.value(key, Json()), now.value(key, Json()), differences);
}

}  // namespace

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state) {
  TensorFile content;
  append(content.tensors, "model/", model_state(model));
  append(content.tensors, "best/", state.best);
  for (const auto& [name, tensor] : optimizer.state()) content.tensors.emplace_back("optimizer/" + name, tensor);
  content.metadata[kMetadataKey] = write_config(state).dump();
  write_safetensors(file, content);
}

TrainingState read_training_log(const std::filesystem::path& file) { return log_of(read_safetensors(file), file); }

std::vector<std::string> config_differences(const Json& before, const Json& now) {
  std::vector<std::string> differences;
  if (!before.is_null()) compare("", before, now, differences);
  return differences;
}

TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer) {
  const TensorFile content = read_safetensors(file);
  TrainingState state = log_of(content, file);
  load_state(model, take(content.tensors, "model/"), file.string());
  std::map<std::string, Tensor> optimizer_state;
  for (const auto& [name, tensor] : take(content.tensors, "optimizer/")) optimizer_state.emplace(name, tensor);
  optimizer.load_state(optimizer_state);
  state.best = take(content.tensors, "best/");
  return state;
}

}  // namespace qgrad
