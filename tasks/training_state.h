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
  NamedTensors best;       // the parameters and buffers of the best epoch, in the file's layout
};

// What a state is of.
struct TrainedSoFar {
  Json config;  // of the run, resolved; null in files of earlier versions
  DataDescription trained_on;
  int epochs = 0;  // that are finished
};

void save_training_state(const std::filesystem::path& file, Module& model, const Optimizer& optimizer,
                         const TrainingState& state, const TrainedSoFar& about);
TrainedSoFar read_trained_so_far(const std::filesystem::path& file);

// "quantizer.bits_weights is 2, but was 4" for every key that differs, but for those that a training may go on with
// when they change.
std::vector<std::string> config_differences(const Json& before, const Json& now);
// Puts the model and the optimizer back where they were. Throws where the file is another model's or optimizer's.
TrainingState load_training_state(const std::filesystem::path& file, Module& model, Optimizer& optimizer);

}  // namespace qgrad
