// What a training needs to go on as if it had not stopped: a file written after every epoch.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/safetensors.h"
#include "tasks/training.h"

namespace qgrad {

// The random streams and the order of the data are functions of seed, epoch and image, and the learning rate is one of
// the epoch and step, so the number of finished epochs says where they stand.
struct TrainingState {
  TrainingResult result;   // of the finished epochs
  double best_score = -1;  // on the validation part
  Json config;             // of the run, resolved; null in files of earlier versions
  DataDescription trained_on;
  NamedTensors best;  // the parameters and buffers of the best epoch, in the file's layout
};
inline void fields(Fields& v, TrainingState& c) {
  v("epochs", c.result.epochs, {.required = true});
  v("best_epoch", c.result.best_epoch, {.min = 0, .required = true});
  v("best_score", c.best_score, {.required = true});
  v("seconds", c.result.seconds, {.min = 0, .required = true});
  v("config", c.config);
  v("trained_on", c.trained_on);
}

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state);
// All of it but the tensors.
TrainingState read_training_log(const std::filesystem::path& file);

// "quantizer.bits_weights is 2, but was 4" for every key that differs, but for those that a training may go on with
// when they change.
std::vector<std::string> config_differences(const Json& before, const Json& now);
// Puts the model and the optimizer back where they were. Throws where the file is another model's or optimizer's.
TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer);

}  // namespace qgrad
