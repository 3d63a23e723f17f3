// Groups of parameters, schedules, the teacher, the batches.
#include "tasks/training_setup.h"

#include <algorithm>
#include <iterator>
#include <regex>
#include <utility>
#include <vector>

#include "core/registry.h"
#include "quant/path_pattern.h"

namespace qgrad {
namespace {

// Groups by pattern; each must pick something. What a group leaves open stays as it was for each of its parameters,
// which a quantizer may have put in a group of its own.
void add_param_groups(Optimizer& optimizer, Module& model, const TrainConfig& config) {
  for (const ParamGroupConfig& c : config.param_groups) {
    std::vector<Parameter*> picked;
    try {
      const std::regex pattern = path_pattern("train.param_groups: " + c.name, c.parameters);
      for (Parameter* p : all_parameters(model))
        if (std::regex_match(p->path(), pattern)) picked.push_back(p);
    } catch (const std::regex_error& e) {
      fail("train.param_groups: {}: '{}' is too complex to match: {}", c.name, c.parameters, e.what());
    }
    check(!picked.empty(), "train.param_groups: {}: '{}' matches no parameter of the model", c.name, c.parameters);
    const std::vector<ParamGroup> before = optimizer.param_groups();
    for (const ParamGroup& earlier : before) {
      ParamGroup group{.name = c.name,
                       .parameters = {},
                       .weight_decay = c.weight_decay ? c.weight_decay : earlier.weight_decay,
                       .lr_factor = c.lr_factor.value_or(earlier.lr_factor)};
      std::ranges::copy_if(picked, std::back_inserter(group.parameters),
                           [&](Parameter* p) { return std::ranges::count(earlier.parameters, p) > 0; });
      if (!group.parameters.empty()) optimizer.add_param_group(std::move(group));
    }
  }
}

}  // namespace

int batch_size_of(const TrainConfig& config, const Task& task) {
  return config.batch_size.value_or(static_cast<int>(std::min<int64_t>(kBatchSize, task.training_examples())));
}

TrainingSetup::TrainingSetup(const TrainConfig& config, Module& model, Optimizer& optimizer, const Task& task)
    : learning_rate(Registry<Schedule>::create(config.schedule)),
      batch_size(batch_size_of(config, task)),
      batches(task.training(batch_size, config.seed)) {
  if (config.quantization) quantization.emplace(*config.quantization, model, config.epochs);
  if (config.distillation) {
    check(config.distillation->from_epoch < config.epochs,
          "distillation.from_epoch: the teacher would never be asked, from epoch {} in a training of {}",
          config.distillation->from_epoch, config.epochs);
    distillation.emplace(*config.distillation, model, task.description());
  }
  add_param_groups(optimizer, model, config);
  if (config.oscillations) {
    auto follows = std::make_unique<Oscillations>(*config.oscillations, model);
    oscillations = follows.get();
    optimizer.set_observer(std::move(follows));
  }
  check(batches->count() > 0, "training: a batch of {} is more than the {} training examples", batch_size,
        batches->examples());
}

int64_t steps_per_epoch(const TrainConfig& config, const Task& task) {
  return task.training_examples() / batch_size_of(config, task);
}

void check_training(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config) {
  TrainingSetup(config, model, optimizer, task);
}

}  // namespace qgrad
