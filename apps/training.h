// The training loop, float and quantization-aware alike: what is quantized is the model's business.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "apps/experiment.h"
#include "apps/metrics.h"
#include "nn/optim.h"

namespace qgrad {

struct EpochLog {
  int epoch = 0;  // counted from 1
  float lr = 0;   // at its last step
  double train_loss = 0, train_top1 = 0;
  std::optional<double> validation_loss, validation_top1;
  double seconds = 0;
  Json to_json() const;
};

struct TrainingResult {
  std::vector<EpochLog> epochs;
  int best_epoch = 0;  // by validation accuracy, the later of equals; the last epoch without a validation split
  double seconds = 0;
  Json epochs_json() const;
};

// Trains the model in place and leaves it with the parameters of its best epoch. `label` starts the progress lines.
TrainingResult train(Module& model, Optimizer& optimizer, const ExperimentData& data, const TrainConfig& config,
                     const std::string& label);

}  // namespace qgrad
