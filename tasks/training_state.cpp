// One safetensors file: "model/..", "best/.." and "optimizer/.." tensors, "start/model/.." and "start/optimizer/.."
// where an epoch may be rolled back, and the log of the epochs in the metadata.
#include "tasks/training_state.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "core/json.h"
#include "nn/checkpoint.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr const char* kMetadataKey = "qgrad_training";

void append(NamedTensors& all, const std::string& prefix, const auto& tensors) {
  for (const auto& [name, tensor] : tensors) all.emplace_back(prefix + name, tensor);
}

void append(NamedTensors& all, const std::string& prefix, const Weights& weights) {
  append(all, prefix + "model/", weights.model);
  append(all, prefix + "optimizer/", weights.optimizer);
}

NamedTensors take(const NamedTensors& all, const std::string& prefix) {
  NamedTensors taken;
  for (const auto& [name, tensor] : all)
    if (name.starts_with(prefix)) taken.emplace_back(name.substr(prefix.size()), tensor);
  return taken;
}

Weights take_weights(const NamedTensors& all, const std::string& prefix) {
  const NamedTensors optimizer = take(all, prefix + "optimizer/");
  return {take(all, prefix + "model/"), {optimizer.begin(), optimizer.end()}};
}

TrainingState log_of(const TensorFile& content, const std::filesystem::path& file) {
  const auto metadata = content.metadata.find(kMetadataKey);
  check(metadata != content.metadata.end(), "{}: is no training state", file.string());
  const std::string place = fmt::format("{} (metadata '{}')", file.string(), kMetadataKey);
  return read_config<TrainingState>({parse_json(metadata->second, place), place, ""});
}

// Epochs to come, and what changes no result.
const std::set<std::string> kMayChange = {"train.epochs",         "train.on_divergence", "train.log_steps",
                                          "train.keep_epochs",    "train.tensorboard",   "data.loader_threads",
                                          "data.eval_batch_size", "data.dataset.dir"};

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

Weights weights_of(Module& model, const Optimizer& optimizer) { return {model_state(model), optimizer.state()}; }

void put_back(const Weights& weights, Module& model, Optimizer& optimizer, std::string_view source) {
  load_state(model, weights.model, source);
  optimizer.load_state(weights.optimizer);
}

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state) {
  TensorFile content;
  append(content.tensors, "", weights_of(model, optimizer));
  append(content.tensors, "best/", state.best);
  if (state.epoch_start) append(content.tensors, "start/", *state.epoch_start);
  content.metadata[kMetadataKey] = write_config(state).dump();
  write_safetensors(file, content);
}

TrainingState read_training_log(const std::filesystem::path& file) { return log_of(read_safetensors(file), file); }

std::vector<std::string> config_differences(const Json& before, const Json& now) {
  std::vector<std::string> differences;
  if (!before.is_null()) compare("", before, now, differences);
  return differences;
}

std::vector<std::string> source_differences(const Json& run_before, const Json& run) {
  const auto part = [](const Json& of, const std::string& key) {
    return of.is_object() ? of.value(key, Json()) : Json();
  };
  std::vector<std::string> differences;
  for (const char* kind : {"data_crc32c", "files_crc32c"}) {
    const Json before = part(run_before, kind), now = part(run, kind);
    for (const auto& [name, sum] : now.items())
      if (const Json was = part(before, name); !was.is_null() && was != sum)
        differences.push_back(fmt::format("{}.{} is {}, but was {}", kind, name, json_line(sum), json_line(was)));
  }
  return differences;
}

void check_resumable(const ResumePoint& point, const TrainConfig& config, const Task& task) {
  if (!point.is_there()) return;
  const std::filesystem::path file = point.folder.path() / point.name;
  const TrainingState before = read_training_log(file);
  if (before.config.is_null() && !point.config.is_null())
    note(fmt::format("{}: does not say its config: that it is this one is not checked", file.string()));
  std::vector<std::string> differences = config_differences(before.config, point.config);
  std::ranges::move(source_differences(before.run, point.run), std::back_inserter(differences));
  check(differences.empty(), "{}: was made with another config, and can not go on with this one: {}", file.string(),
        fmt::join(differences, "; "));
  for (const char* fact : {"version", "commit", "compiler"})
    if (before.run.is_object() && point.run.is_object() && before.run.value(fact, Json()) != point.run.at(fact))
      note(fmt::format("{}: goes on with another {}: {}, after {}", file.string(), fact, json_line(point.run.at(fact)),
                       json_line(before.run.value(fact, Json()))));
  const Json epochs_before =
      before.config.is_null() ? Json() : before.config.value("/train/epochs"_json_pointer, Json());
  if (epochs_before.is_number() && epochs_before != config.epochs)
    note(fmt::format("{}: {} epochs in place of {}: schedules are those of {} from here on", file.string(),
                     config.epochs, json_line(epochs_before), config.epochs));
  const std::ptrdiff_t epochs = std::ssize(before.result.epochs);
  check(epochs <= config.epochs, "{}: {} epochs are finished, which are more than train.epochs, {}", file.string(),
        epochs, config.epochs);
  check_agree({file.string(), before.trained_on}, {"the data that are there", task.description()});
}

TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer) {
  const TensorFile content = read_safetensors(file);
  TrainingState state = log_of(content, file);
  put_back(take_weights(content.tensors, ""), model, optimizer, file.string());
  state.best = take(content.tensors, "best/");
  if (Weights start = take_weights(content.tensors, "start/"); !start.model.empty())
    state.epoch_start = std::move(start);
  return state;
}

}  // namespace qgrad
