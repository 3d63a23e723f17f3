// What a training is set up with before its first step.
#pragma once

#include <memory>
#include <optional>

#include "nn/optim/optimizer.h"
#include "nn/optim/schedule.h"
#include "quant/train/oscillation.h"
#include "quant/train/quant_schedule.h"
#include "tasks/distillation.h"
#include "tasks/experiment.h"
#include "tasks/task.h"

namespace qgrad {

inline constexpr int kBatchSize = 128;  // by default

int batch_size_of(const TrainConfig& config, const Task& task);
int64_t steps_per_epoch(const TrainConfig& config, const Task& task);

// What a training follows, all that can be wrong with it known.
struct TrainingSetup {
  std::unique_ptr<Schedule> learning_rate;
  std::optional<QuantSchedule> quantization;
  std::optional<Distillation> distillation;
  Oscillations* oscillations = nullptr;  // the optimizer's
  int batch_size;
  std::unique_ptr<Task::Batches> batches;

  TrainingSetup(const TrainConfig& config, Module& model, Optimizer& optimizer, const Task& task);
};

// Throws what train() would throw before its first step: settings that are wrong, files that are missing.
void check_training(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config);

}  // namespace qgrad
