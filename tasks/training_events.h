// What TensorBoard shows of a training.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/json.h"
#include "nn/module.h"
#include "tasks/event_file.h"
#include "tasks/experiment.h"
#include "tasks/output_folder.h"
#include "tasks/task.h"

namespace qgrad {

// The training examples that activations are shown of; with a seed, the same again.
Task::Batch shown_examples(const Task& task, const std::optional<uint64_t>& seed);

// Curves: the numbers of the log ("steps/loss", "epochs/top1", "validation/top1"), and what quantizations of the model
// have as parameters, buffers and bits ("quantization/layer1.0.relu.clip_val"). Histograms, after every epoch: of the
// parameters ("weights/..") and of what the measured_modules() make of the same few training examples
// ("activations/.."), in evaluation mode. Nothing of the training depends on it.
class TrainingEvents {
 public:
  // `name`: of the file in the folder, of which the first `size` bytes are kept.
  TrainingEvents(OutputFolder& folder, std::string name, int64_t size, const Task& task, const TrainConfig& config);

  // The numbers of a line of the log under "<group>/".
  void add_line(int64_t step, const std::string& group, const Json& line, Module& model);
  void add_histograms(int64_t step, Module& model);
  void restart(int64_t step);

  void flush() { file_.flush(); }
  int64_t size() const { return file_.size(); }

 private:
  EventFile& file();  // while the folder is this run's

  OutputFolder& folder_;
  std::string name_;
  EventFile file_;
  Task::Batch examples_;
};

}  // namespace qgrad
