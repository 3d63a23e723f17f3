// The training loop, float and quantization-aware alike: what is quantized is the model's business.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "nn/optim/optimizer.h"
#include "tasks/experiment.h"
#include "tasks/metrics.h"
#include "tasks/output_folder.h"

namespace qgrad {

struct EpochLog {
  int epoch = 0;  // counted from 1
  float lr = 0;   // at its last step
  double train_loss = 0, train_top1 = 0;
  Json validation;  // the task's metrics; null where nothing is held out
  double seconds = 0;
};
inline void fields(Fields& v, EpochLog& c) {
  v("epoch", c.epoch);
  v("lr", c.lr);
  v("train_loss", c.train_loss);
  v("train_top1", c.train_top1);
  v("validation", c.validation);
  v("seconds", c.seconds);
}

struct TrainingResult {
  std::vector<EpochLog> epochs;
  // By the task's score on the validation part, the later of equals; the last epoch without a validation split. Only of
  // epochs that quantize as the model will in the end.
  int best_epoch = 0;
  double seconds = 0;
  Json epochs_json() const;
};

// Where a training keeps the state that it can go on from, and what is seen of it while it runs.
struct ResumePoint {
  OutputFolder& folder;
  std::string name;     // of the file in it, written after every epoch, and where StopSignals stop it
  bool resume = false;  // begin where the file, if there is one, says; otherwise it is overwritten
  Json config;          // of the whole run, resolved
  Json run = {};        // the program, and checksums of what it reads beside the config; null: unknown
  // Writes the model as a checkpoint of that name in the folder: "last.safetensors" after every epoch,
  // "best.safetensors" after those that are the best so far, and what train.keep_epochs asks for. May be empty.
  std::function<void(const std::string& name, const Json& metrics)> save_checkpoint = {};
  // Shows the training so far, after every epoch. May be empty.
  std::function<void(const TrainingResult& so_far)> show = {};

  bool is_there() const { return resume && std::filesystem::exists(folder.path() / name); }
};

// The config's optimizer, with all parameters of the model in one group.
std::unique_ptr<Optimizer> make_optimizer(const Config& config, Module& model);

// With ranks (core/ranks.h) all of them call this, with equal arguments; the first one writes.
// Trains the model in place and leaves it with the parameters of its best epoch. `label` starts the progress lines.
// With a resume point log.jsonl lies beside its file: a line for every epoch and every train.log_steps steps, without
// times, so that its bytes repeat too; with train.tensorboard an event file, too (training_events.h). Throws Stopped
// where StopSignals have received one, with the state on disk; and Diverged where a number is not finite and the config
// says no rollback, or ten were in vain.
TrainingResult train(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config,
                     const std::string& label, const std::optional<ResumePoint>& resume_point = std::nullopt);

}  // namespace qgrad
