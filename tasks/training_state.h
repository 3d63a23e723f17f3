// What a training needs to go on as if it had not stopped: a file written after every epoch, and in the middle of one
// that is stopped.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "nn/safetensors.h"
#include "tasks/metrics.h"
#include "tasks/training.h"

namespace qgrad {

// The epoch under way.
struct EpochSoFar {
  int64_t steps = 0;  // finished
  float lr = 0;       // at the last of them
  Metrics metrics;    // of the training images
  Metrics unlogged;   // of those since the last line of the log
  double seconds = 0;
};
inline void fields(Fields& v, EpochSoFar& c) {
  v("steps", c.steps, {.min = 0});
  v("lr", c.lr);
  v("metrics", c.metrics);
  v("unlogged", c.unlogged);
  v("seconds", c.seconds, {.min = 0});
}

// All that steps change.
struct Weights {
  NamedTensors model;  // parameters and buffers, in the file's layout
  std::map<std::string, Tensor> optimizer;
};
Weights weights_of(Module& model, const Optimizer& optimizer);
void put_back(const Weights& weights, Module& model, Optimizer& optimizer, std::string_view source);

// The random streams and the order of the data are functions of seed, epoch and image, and the learning rate is one of
// the epoch and step, so the numbers of finished epochs and steps say where they stand.
struct TrainingState {
  TrainingResult result;   // of the finished epochs
  double best_score = -1;  // on the validation part
  Json config, run;        // as ResumePoint has them; null in files of earlier versions
  DataDescription trained_on;
  EpochSoFar epoch;
  int rollbacks = 0;
  int64_t log_lines = 0, event_bytes = 0;  // of the log, and of what TensorBoard reads
  NamedTensors best;                       // the parameters and buffers of the best epoch, in the file's layout
  std::optional<Weights> epoch_start;      // where the epoch is to be rolled back to; null: where the file stands
};
inline void fields(Fields& v, TrainingState& c) {
  v("epochs", c.result.epochs, {.required = true});
  v("best_epoch", c.result.best_epoch, {.min = 0, .required = true});
  v("best_score", c.best_score, {.required = true});
  v("seconds", c.result.seconds, {.min = 0, .required = true});
  v("epoch", c.epoch);
  v("rollbacks", c.rollbacks, {.min = 0});
  v("log_lines", c.log_lines, {.min = 0});
  v("event_bytes", c.event_bytes, {.min = 0});
  v("config", c.config);
  v("run", c.run);
  v("trained_on", c.trained_on);
}

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state);
// All of it but the tensors.
TrainingState read_training_log(const std::filesystem::path& file);

// "quantizer.bits_weights is 2, but was 4" for every key that differs, but for those that a training may go on with
// when they change.
std::vector<std::string> config_differences(const Json& before, const Json& now);
// "data_crc32c.training is .., but was ..", of data and files that two runs know by what they recorded; null knows
// none.
std::vector<std::string> source_differences(const Json& run_before, const Json& run);
// Throws where the state to go on from, if there is one, was made with another config or other data, and names what
// differs. What may change: train.epochs, unless they are over; and what changes no result: data.loader_threads,
// data.eval_batch_size, and the folder that the data are in.
void check_resumable(const ResumePoint& point, const TrainConfig& config, const Task& task);
// Puts the model and the optimizer back where they were. Throws where the file is another model's or optimizer's.
TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer);

}  // namespace qgrad
