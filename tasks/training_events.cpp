// Curves and histograms of a model in training.
#include "tasks/training_events.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/ranks.h"
#include "core/tape.h"
#include "quant/quantization.h"
#include "quant/ranges/stats.h"

namespace qgrad {
namespace {

constexpr int64_t kExamples = 16;  // that activations are shown of

// Members that are numbers, those of objects in it as "<key>/..".
void add_numbers(Summary& summary, const std::string& group, const Json& line) {
  for (const auto& [key, value] : line.items()) {
    if (value.is_object()) add_numbers(summary, key, value);
    if (value.is_number() && key != "epoch" && key != "step") summary.add(group + "/" + key, value.get<double>());
  }
}

void add_tensor(Summary& summary, const std::string& tag, const Tensor& x) {
  if (x.numel() == 1)
    summary.add(tag, x.item());
  else
    summary.add(tag, x.data());
}

void add_quantizations(Summary& summary, Module& model) {
  visit_modules<Quantization>(model, [&](Quantization& quantization) {
    const std::string group = "quantization/";
    for (const Parameter* p : quantization.parameters())
      if (p->defined()) add_tensor(summary, group + p->path(), p->raw());
    for (const Buffer* b : quantization.buffers()) add_tensor(summary, group + b->path(), (*b)());
    if (quantization.bits()) summary.add(group + quantization.path() + ".bits", *quantization.bits());
  });
}

// What modules give, each at its first call.
class Activations final : public CallObserver {
 public:
  Activations(Module& model, Summary& summary) : summary_(summary) {
    for (const Module* module : measured_modules(model)) modules_.insert(module);
  }
  void leave(Module& module, Inputs, const Tensor& y) override {
    if (modules_.erase(&module) > 0) summary_.add("activations/" + module.path(), y.data());
  }

 private:
  Summary& summary_;
  std::set<const Module*> modules_;
};

}  // namespace

Task::Batch shown_examples(const Task& task, const std::optional<uint64_t>& seed) {
  const TrainingWith alone(nullptr);  // all of them, on whatever rank this is
  const auto batches = task.training(static_cast<int>(std::min(kExamples, task.training_examples())), seed);
  batches->start_epoch(0, 0);
  return batches->next().value();
}

TrainingEvents::TrainingEvents(OutputFolder& folder, std::string name, int64_t size, const Task& task,
                               const TrainConfig& config)
    : folder_(folder),
      name_(std::move(name)),
      file_(folder.to_write(name_), size),
      examples_(shown_examples(task, config.seed)) {}

EventFile& TrainingEvents::file() {
  folder_.to_write(name_);
  return file_;
}

void TrainingEvents::add_line(int64_t step, const std::string& group, const Json& line, Module& model) {
  Summary summary;
  add_numbers(summary, group, line);
  add_quantizations(summary, model);
  file().add(step, summary);
}

void TrainingEvents::add_histograms(int64_t step, Module& model) {
  Summary summary;
  std::set<const Parameter*> of_grids;
  visit_modules<Quantization>(model,
                              [&](Quantization& q) { of_grids.insert(q.parameters().begin(), q.parameters().end()); });
  for (const Parameter* p : all_parameters(model))
    if (!of_grids.contains(p)) summary.add("weights/" + p->path(), p->raw().data());
  const TrainingWith alone(nullptr);
  const EvaluationMode evaluating(model);
  const Tape::Paused paused;
  Activations activations(model, summary);
  const Observing observing(activations);
  model.call(examples_.inputs);
  file().add(step, summary);
}

void TrainingEvents::restart(int64_t step) { file().restart(step); }

}  // namespace qgrad
