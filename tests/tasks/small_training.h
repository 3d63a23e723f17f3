// A quantization-aware training of a second, in a folder.
#pragma once

#include <filesystem>
#include <string>

#include "tasks/training.h"

namespace qgrad::test {

inline constexpr int kSmallSteps = 4;  // in an epoch

ExperimentConfig small_experiment();
TrainConfig small_training(int epochs = 3);  // writes all that a training can write
TrainingResult train_small(const std::filesystem::path& folder, const TrainConfig& config, const Task& task,
                           bool resume = false);

std::string bytes_of(const std::filesystem::path& file);

}  // namespace qgrad::test
