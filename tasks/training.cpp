// Epochs, steps and the choice of the best.
#include "tasks/training.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/optim/schedule.h"
#include "quant/path_pattern.h"
#include "tasks/progress.h"
#include "tasks/stopwatch.h"
#include "tasks/training_state.h"

namespace qgrad {
namespace {

constexpr int kBatchSize = 128;  // by default

struct EpochTotals {
  Metrics metrics;
  float lr = 0;
};

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

// What a training follows, all that can be wrong with it known.
struct TrainingSetup {
  std::unique_ptr<Schedule> learning_rate;
  std::optional<QuantSchedule> quantization;
  std::optional<Distillation> distillation;
  int batch_size;
  std::unique_ptr<Task::Batches> batches;

  TrainingSetup(const TrainConfig& config, Module& model, Optimizer& optimizer, const Task& task)
      : learning_rate(Registry<Schedule>::create(config.schedule)),
        batch_size(
            config.batch_size.value_or(static_cast<int>(std::min<int64_t>(kBatchSize, task.training_examples())))),
        batches(task.training(batch_size, config.seed)) {
    if (config.quantization) quantization.emplace(*config.quantization, model, config.epochs);
    if (config.distillation) {
      check(config.distillation->from_epoch < config.epochs,
            "distillation.from_epoch: the teacher would never be asked, from epoch {} in a training of {}",
            config.distillation->from_epoch, config.epochs);
      distillation.emplace(*config.distillation, model, task.description());
    }
    add_param_groups(optimizer, model, config);
    check(batches->count() > 0, "training: a batch of {} is more than the {} training examples", batch_size,
          batches->examples());
  }
};

EpochTotals train_epoch(Module& model, Optimizer& optimizer, const Task& task, TrainingSetup& setup,
                        const TrainConfig& config, int epoch, const std::string& label) {
  Task::Batches& batches = *setup.batches;
  model.set_training(true);
  EpochTotals totals;
  Progress progress(label, batches.count() * setup.batch_size, task.unit());
  Tape tape;
  batches.start_epoch(epoch);
  for (int64_t step = 0; const auto batch = batches.next(); ++step) {
    const double position = epoch + static_cast<double>(step) / static_cast<double>(batches.count());
    if (setup.quantization) setup.quantization->apply(epoch, step, batches.count());
    totals.lr = setup.learning_rate->lr(optimizer.base_lr(), position, config.epochs);
    optimizer.set_lr(totals.lr);
    optimizer.zero_grad();
    Tensor logits, loss;
    {
      const Tape::Recording recording(tape);
      logits =
          task.logits(setup.distillation ? setup.distillation->call_student(batch->inputs) : model.call(batch->inputs));
      loss = softmax_cross_entropy(logits, batch->labels, config.label_smoothing);
      if (setup.distillation) loss = setup.distillation->loss(loss, logits, task, batch->inputs, position);
    }
    check(
        std::isfinite(loss.item()),
        "training broke: the loss became {} in epoch {}, step {} (learning rate {}); a smaller learning rate may help",
        loss.item(), epoch + 1, step + 1, totals.lr);
    tape.backward(loss);
    optimizer.step();
    totals.metrics.add(logits, batch->labels);
    progress.update(totals.metrics.images,
                    fmt::format("loss {:.4f}  top1 {:.2f}", totals.metrics.loss(), totals.metrics.top1()));
  }
  return totals;
}

}  // namespace

Json TrainingResult::epochs_json() const {
  Json list = Json::array();
  for (const EpochLog& e : epochs) list.push_back(write_config(e));
  return list;
}

std::unique_ptr<Optimizer> make_optimizer(const Config& config, Module& model) {
  auto optimizer = Registry<Optimizer>::create(config);
  optimizer->add_param_group({.name = "default", .parameters = all_parameters(model)});
  return optimizer;
}

void check_training(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config) {
  TrainingSetup(config, model, optimizer, task);
}

void check_resumable(const ResumePoint& point, const TrainConfig& config, const Task& task) {
  if (!point.is_there()) return;
  const std::filesystem::path file = point.folder.path() / point.name;
  const TrainingState before = read_training_log(file);
  if (before.config.is_null() && !point.config.is_null())
    note(fmt::format("{}: does not say its config: that it is this one is not checked", file.string()));
  const std::vector<std::string> differences = config_differences(before.config, point.config);
  check(differences.empty(), "{}: was made with another config, and can not go on with this one: {}", file.string(),
        fmt::join(differences, "; "));
  const std::ptrdiff_t epochs = std::ssize(before.result.epochs);
  check(epochs <= config.epochs, "{}: {} epochs are finished, which are more than train.epochs, {}", file.string(),
        epochs, config.epochs);
  check_agree({file.string(), before.trained_on}, {"the data that are there", task.description()});
}

TrainingResult train(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config,
                     const std::string& label, const std::optional<ResumePoint>& resume_point) {
  TrainingSetup setup(config, model, optimizer, task);
  if (!config.batch_size && setup.batch_size < kBatchSize)
    note(fmt::format("training: batches of all {} training examples, which are fewer than {}", setup.batch_size,
                     kBatchSize));
  TrainingState state;
  if (resume_point && resume_point->is_there())
    state = load_training_state(resume_point->folder.path() / resume_point->name, model, optimizer);
  if (resume_point) state.config = resume_point->config;
  state.trained_on = task.description();
  TrainingResult& result = state.result;
  for (int epoch = static_cast<int>(result.epochs.size()); epoch < config.epochs; ++epoch) {
    const Stopwatch stopwatch;
    const std::string epoch_label = fmt::format("{}  epoch {}/{}", label, epoch + 1, config.epochs);
    const EpochTotals totals = train_epoch(model, optimizer, task, setup, config, epoch, epoch_label);
    EpochLog log{
        .epoch = epoch + 1, .lr = totals.lr, .train_loss = totals.metrics.loss(), .train_top1 = totals.metrics.top1()};
    std::string line = fmt::format("loss {:.4f}  top1 {:.2f}", log.train_loss, log.train_top1);
    const std::string broken = fmt::format("training broke: after epoch {} (learning rate {})", epoch + 1, totals.lr);
    check_numbers(model, broken);
    if (task.has(Task::Part::validation)) {
      log.validation = task.evaluate(model, Task::Part::validation, "");
      check_finite(log.validation, broken + ", on the validation images");
      line += "  validation " + metrics_text(log.validation);
    }
    log.seconds = stopwatch.seconds();
    note(fmt::format("{}  {}  {}", epoch_label, line, format_duration(log.seconds)));
    const bool eligible = !setup.quantization || setup.quantization->is_final(epoch);
    const double score = log.validation.is_null() ? 0 : log.validation.at(task.score()).get<double>();
    if (eligible && (log.validation.is_null() || score >= state.best_score)) {
      state.best_score = score;
      state.best = model_state(model);
      result.best_epoch = epoch + 1;
    }
    result.seconds += log.seconds;
    result.epochs.push_back(log);
    if (resume_point) save_training_state(resume_point->folder.to_write(resume_point->name), model, optimizer, state);
  }
  load_state(model, state.best, "the best epoch");
  return result;
}

}  // namespace qgrad
