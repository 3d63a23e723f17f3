// Epochs, steps and the choice of the best.
#include "tasks/training.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/batch_sum.h"
#include "core/file.h"
#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "tasks/divergence.h"
#include "tasks/progress.h"
#include "tasks/stop_signals.h"
#include "tasks/stopwatch.h"
#include "tasks/training_events.h"
#include "tasks/training_setup.h"
#include "tasks/training_state.h"

namespace qgrad {
namespace {

constexpr const char* kEventFile = "events.out.tfevents.qgrad";  // TensorBoard looks for "tfevents"
constexpr int kMostRollbacks = 10;
constexpr float kRollbackFactor = 0.5f;  // of the learning rate

// An error of these calls says that a number is not finite.
void or_diverged(const auto& check_numbers) {
  try {
    check_numbers();
  } catch (const Error& e) {
    throw Diverged(e.what());
  }
}

// A training from where it stands to its end. All that it knows between two steps is in the model, the optimizer and
// the state.
class Training {
 public:
  Training(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config, const std::string& label,
           const std::optional<ResumePoint>& point);
  TrainingResult run();

 private:
  int epoch() const { return static_cast<int>(std::ssize(state_.result.epochs)); }  // the one under way, from 0
  std::string place() const;
  std::string what_is_left() const;  // of a training that broke
  std::string own_broken_layer(Inputs inputs) const;
  double position() const;  // in epochs, of the step under way
  int64_t steps_done() const { return epoch() * setup_.batches->count() + state_.epoch.steps; }
  float lr_factor() const { return std::pow(kRollbackFactor, static_cast<float>(state_.rollbacks)); }
  std::string seen(double seconds_of_epoch) const;
  std::string seen_of_ranks() const;

  void finish_epoch();
  void train_steps(const Stopwatch& stopwatch);
  void step(const Task::Batch& batch);
  void compute(const Task::Batch& batch);
  void judge(EpochLog& log);
  bool keep_if_best(const EpochLog& log);
  void roll_back(const Diverged& why);

  // The epoch's metrics, and whether any rank was asked to stop.
  void count(const Tensor& logits, std::span<const int32_t> labels);
  bool writes() const { return point_ && (!ranks() || ranks()->is_first()); }
  void stop_if_asked();
  void save();
  void log(const std::string& group, const Json& line);
  void log_step();
  void save_checkpoint(const std::string& name, const Json& metrics);
  void save_checkpoints(const EpochLog& log, bool best);

  Module& model_;
  Optimizer& optimizer_;
  const Task& task_;
  const TrainConfig& config_;
  const std::string label_;
  const std::optional<ResumePoint>& point_;
  TrainingSetup setup_;
  Tape tape_;
  TrainingState state_;
  int64_t steps_ = 0;  // of this process, and the time they took
  double step_seconds_ = 0;
  int stop_signal_ = 0;  // that a rank has received before the last step; 0: none
  std::string log_name_;
  std::optional<LineFile> log_;
  std::optional<TrainingEvents> events_;
};

Training::Training(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config,
                   const std::string& label, const std::optional<ResumePoint>& point)
    : model_(model),
      optimizer_(optimizer),
      task_(task),
      config_(config),
      label_(label),
      point_(point),
      setup_(config, model, optimizer, task) {
  if (!config.batch_size && setup_.batch_size < kBatchSize)
    note(fmt::format("training: batches of all {} training examples, which are fewer than {}", setup_.batch_size,
                     kBatchSize));
  if (point && point->is_there()) state_ = load_training_state(point->folder.path() / point->name, model, optimizer);
  state_.trained_on = task.description();
  if (!point) return;
  state_.config = point->config;
  state_.run = point->run;
  if (!writes()) return;
  const std::filesystem::path place = std::filesystem::path(point->name).parent_path();
  log_name_ = (place / "log.jsonl").string();
  log_.emplace(point->folder.to_write(log_name_), state_.log_lines);
  if (log_->lines() < state_.log_lines)
    note(fmt::format("{}: the run wrote {} lines before, and {} are left", log_name_, state_.log_lines, log_->lines()));
  if (config.tensorboard)
    events_.emplace(point->folder, (place / kEventFile).string(), state_.event_bytes, task, config);
}

TrainingResult Training::run() {
  while (stop_if_asked(), epoch() < config_.epochs) {
    if (config_.on_divergence == OnDivergence::rollback && state_.epoch.steps == 0)
      state_.epoch_start = weights_of(model_, optimizer_);
    try {
      finish_epoch();
    } catch (const Diverged& e) {
      if (!state_.epoch_start || state_.rollbacks == kMostRollbacks)
        throw Diverged(fmt::format("training broke: {}; {}", e.what(), what_is_left()));
      roll_back(e);
    }
  }
  load_state(model_, state_.best, "the best epoch");
  if (ranks()) note(label_ + "  " + seen_of_ranks());
  return state_.result;
}

// "2 ranks: 81 sums of 2.4 MB and 12 ms of 240 ms a step", of the first one.
std::string Training::seen_of_ranks() const {
  const Ranks::Traffic& all = ranks()->traffic();
  const auto steps = static_cast<double>(std::max<int64_t>(steps_, 1));
  return fmt::format("{} ranks: a step sends {:.0f} sums of {:.2f} MB, and waits {:.1f} ms of {:.1f} ms for them",
                     ranks()->count(), static_cast<double>(all.messages) / steps,
                     static_cast<double>(all.bytes) / steps / 1e6, 1e3 * all.seconds / steps,
                     1e3 * step_seconds_ / steps);
}

// "epoch 3, step 12 (learning rate 0.1)"
std::string Training::place() const {
  return fmt::format("epoch {}, step {} (learning rate {})", epoch() + 1, state_.epoch.steps + 1, state_.epoch.lr);
}

std::string Training::what_is_left() const {
  const std::string advice = "a smaller learning rate may help";
  if (!point_) return advice;
  const std::filesystem::path file = point_->folder.path() / point_->name;
  return std::filesystem::exists(file) ? fmt::format("the last good state is {}; {}", file.string(), advice) : advice;
}

// In this rank's part of the batch.
std::string Training::own_broken_layer(Inputs inputs) const {
  const TrainingWith alone(nullptr);
  return broken_layer(model_, inputs);
}

double Training::position() const {
  return epoch() + static_cast<double>(state_.epoch.steps) / static_cast<double>(setup_.batches->count());
}

// "  best 91.20 (epoch 3)  the run: 3 min 05 s left", of the whole run.
std::string Training::seen(double seconds_of_epoch) const {
  std::string text;
  if (state_.best_score >= 0 && task_.has(Task::Part::validation))
    text = fmt::format("  best {:.2f} (epoch {})", state_.best_score, state_.result.best_epoch);
  const double left = seconds_of_epoch * (config_.epochs - position());
  return left > 0 ? text + fmt::format("  the run: {} left", format_duration(left)) : text;
}

void Training::finish_epoch() {
  const Stopwatch stopwatch(state_.epoch.seconds);
  train_steps(stopwatch);
  EpochLog log{.epoch = epoch() + 1,
               .lr = state_.epoch.lr,
               .train_loss = state_.epoch.metrics.loss(),
               .train_top1 = state_.epoch.metrics.top1()};
  judge(log);
  log.seconds = stopwatch.seconds();
  const bool best = keep_if_best(log);
  std::string line = fmt::format("{}  epoch {}/{}  loss {:.4f}  top1 {:.2f}", label_, log.epoch, config_.epochs,
                                 log.train_loss, log.train_top1);
  if (!log.validation.is_null()) line += "  validation " + metrics_text(log.validation);
  if (setup_.oscillations && config_.oscillations->freeze_above)
    line += fmt::format("  frozen {:.2f} %", setup_.oscillations->frozen_percent());
  state_.result.seconds += log.seconds;
  state_.result.epochs.push_back(log);
  state_.epoch = {};
  state_.epoch_start.reset();
  note(fmt::format("{}  {}{}", line, format_duration(log.seconds), seen(log.seconds)));
  save_checkpoints(log, best);
  save();
  if (writes() && point_->show) point_->show(state_.result);
}

void Training::train_steps(const Stopwatch& stopwatch) {
  EpochSoFar& so_far = state_.epoch;
  const int64_t count = setup_.batches->count(), first = so_far.steps, images_before = so_far.metrics.images;
  model_.set_training(true);
  Progress progress(fmt::format("{}  epoch {}/{}", label_, epoch() + 1, config_.epochs),
                    (count - first) * setup_.batch_size, task_.unit());
  setup_.batches->start_epoch(epoch(), first);
  while (const auto batch = setup_.batches->next()) {
    const Stopwatch of_step;
    step(*batch);
    ++steps_;
    step_seconds_ += of_step.seconds();
    so_far.seconds = stopwatch.seconds();
    const double per_epoch = epoch() > 0
                                 ? state_.result.epochs.back().seconds
                                 : so_far.seconds * static_cast<double>(count) / static_cast<double>(so_far.steps);
    progress.update(so_far.metrics.images - images_before,
                    fmt::format("loss {:.4f}  top1 {:.2f}{}", so_far.metrics.loss(), so_far.metrics.top1(),
                                config_.epochs > 1 ? seen(per_epoch) : ""));
    stop_if_asked();
  }
}

void Training::step(const Task::Batch& batch) {
  EpochSoFar& so_far = state_.epoch;
  if (setup_.quantization) setup_.quantization->apply(epoch(), so_far.steps, setup_.batches->count());
  if (setup_.oscillations) setup_.oscillations->set_progress(position() / config_.epochs);
  so_far.lr = setup_.learning_rate->lr(optimizer_.base_lr(), position(), config_.epochs) * lr_factor();
  optimizer_.set_lr(so_far.lr);
  try {
    compute(batch);
  } catch (const Diverged&) {
    throw;
  } catch (const Error& e) {  // of a layer or a limit, say, that refuses such numbers
    const std::string layer = own_broken_layer(batch.inputs);
    if (layer.empty()) throw;
    const std::string why =
        fmt::format("in {}: {}; the numbers of {} are the first that are not finite", place(), e.what(), layer);
    if (ranks()) fail("training broke: {}; {}", why, what_is_left());  // others may not see it, and can not go back
    throw Diverged(why);
  }
  ++so_far.steps;
  if (config_.log_steps > 0 && so_far.steps % config_.log_steps == 0) log_step();
}

// Forward, backward, and the optimizer's step, which numbers that are not finite do not reach.
void Training::compute(const Task::Batch& batch) {
  optimizer_.zero_grad();
  Tensor logits, loss;
  {
    const Tape::Recording recording(tape_);
    logits =
        task_.logits(setup_.distillation ? setup_.distillation->call_student(batch.inputs) : model_.call(batch.inputs));
    loss = softmax_cross_entropy(logits, batch.labels, config_.label_smoothing);
    if (setup_.distillation) loss = setup_.distillation->loss(loss, logits, task_, batch.inputs, position());
  }
  if (!std::isfinite(loss.item())) {
    std::array<char, 256> first{};  // of the first rank whose part shows one
    add_in_turn(logits.is_part(), std::span<char>(first), [&] {
      if (first[0] == 0) own_broken_layer(batch.inputs).copy(first.data(), first.size() - 1);
    });
    const std::string layer = first.data();
    throw Diverged(fmt::format("the loss became {} in {}", loss.item(), place()),
                   layer.empty() ? "" : fmt::format("; the numbers of {} are the first that are not finite", layer));
  }
  tape_.backward(loss);
  if (const std::string parameter = broken_gradient(model_); !parameter.empty())
    throw Diverged(fmt::format("the gradient of {} is not finite in {}", parameter, place()));
  optimizer_.step();
  count(logits, batch.labels);
}

void Training::count(const Tensor& logits, std::span<const int32_t> labels) {
  struct {
    Metrics epoch, unlogged;
    int stop_signal;
  } all{state_.epoch.metrics, state_.epoch.unlogged, 0};
  const std::vector<Metrics::Score> scores = Metrics::scores(logits, labels);
  add_in_turn(logits.is_part(), std::span(&all, 1), [&] {
    all.epoch.add(scores);
    all.unlogged.add(scores);
    all.stop_signal = std::max(all.stop_signal, point_ ? StopSignals::received() : 0);
  });
  state_.epoch.metrics = all.epoch, state_.epoch.unlogged = all.unlogged;
  stop_signal_ = all.stop_signal;
}

// The epoch's weights must be finite, and what they make of the validation images.
void Training::judge(EpochLog& log) {
  const std::string when = fmt::format("after epoch {} (learning rate {})", log.epoch, log.lr);
  or_diverged([&] { check_numbers(model_, when); });
  if (!task_.has(Task::Part::validation)) return;
  log.validation = task_.evaluate(model_, Task::Part::validation, "");
  or_diverged([&] { qgrad::check_finite(log.validation, when + ", on the validation images"); });
}

bool Training::keep_if_best(const EpochLog& log) {
  const bool eligible = !setup_.quantization || setup_.quantization->is_final(epoch());
  const double score = log.validation.is_null() ? 0 : log.validation.at(task_.score()).get<double>();
  if (!eligible || (!log.validation.is_null() && score < state_.best_score)) return false;
  state_.best_score = score;
  state_.best = model_state(model_);
  state_.result.best_epoch = log.epoch;
  return true;
}

void Training::roll_back(const Diverged& why) {
  put_back(*state_.epoch_start, model_, optimizer_, "the state before the epoch");
  ++state_.rollbacks;
  note(fmt::format("training broke: {}; back to the state before epoch {}, and on with {} of the learning rate",
                   why.what(), epoch() + 1, lr_factor()));
  state_.epoch = {.seconds = state_.epoch.seconds};
  if (events_) events_->restart(steps_done() + 1);
  log("rollbacks", {{"epoch", epoch() + 1}, {"rollback", why.text()}, {"lr_factor", lr_factor()}});
}

void Training::stop_if_asked() {
  const int signal = !point_ ? 0 : ranks() ? stop_signal_ : StopSignals::received();
  if (signal == 0) return;
  if (state_.epoch.steps > 0) save();
  const std::string where = state_.epoch.steps > 0
                                ? fmt::format("after step {} of epoch {}", state_.epoch.steps, epoch() + 1)
                            : epoch() > 0 ? fmt::format("after epoch {}", epoch())
                                          : "before the first step";
  throw Stopped(where, point_->folder.path().string(), signal);
}

void Training::save() {
  if (!writes()) return;
  log_->flush();
  state_.log_lines = log_->lines();
  if (events_) events_->flush();
  state_.event_bytes = events_ ? events_->size() : 0;
  save_training_state(point_->folder.to_write(point_->name), model_, optimizer_, state_);
}

// `group`: of the curves of its numbers.
void Training::log(const std::string& group, const Json& line) {
  if (!log_) return;
  point_->folder.to_write(log_name_);  // while the folder is this run's
  log_->add(json_line(line));
  if (events_) events_->add_line(steps_done(), group, line, model_);
}

void Training::log_step() {
  const Metrics metrics = std::exchange(state_.epoch.unlogged, {});
  log("steps", {{"epoch", epoch() + 1},
                {"step", state_.epoch.steps},
                {"loss", metrics.loss()},
                {"top1", metrics.top1()},
                {"lr", state_.epoch.lr}});
}

void Training::save_checkpoint(const std::string& name, const Json& metrics) {
  if (writes() && point_->save_checkpoint) point_->save_checkpoint(name, metrics);
}

void Training::save_checkpoints(const EpochLog& epoch_log, bool best) {
  log("epochs", {{"epoch", epoch_log.epoch},
                 {"loss", epoch_log.train_loss},
                 {"top1", epoch_log.train_top1},
                 {"lr", epoch_log.lr},
                 {"validation", epoch_log.validation},
                 {"best", best}});
  if (events_) events_->add_histograms(steps_done(), model_);
  const Json metrics = {{"epoch", epoch_log.epoch}, {"validation", epoch_log.validation}};
  const auto name = [](int epoch) { return fmt::format("epoch_{:04}.safetensors", epoch); };
  save_checkpoint("last.safetensors", metrics);
  if (best) save_checkpoint("best.safetensors", metrics);
  if (config_.keep_epochs == 0) return;
  save_checkpoint(name(epoch_log.epoch), metrics);
  if (writes() && epoch_log.epoch > config_.keep_epochs)
    point_->folder.remove(name(epoch_log.epoch - config_.keep_epochs));
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

TrainingResult train(Module& model, Optimizer& optimizer, const Task& task, const TrainConfig& config,
                     const std::string& label, const std::optional<ResumePoint>& resume_point) {
  return Training(model, optimizer, task, config, label, resume_point).run();
}

}  // namespace qgrad
