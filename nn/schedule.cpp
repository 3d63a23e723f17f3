// The formulas of the learning-rate schedules.
#include "nn/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace qgrad {
namespace {

const Registered<Schedule, ConstantSchedule, ScheduleConfig> constant{"constant"};
const Registered<Schedule, StepSchedule, StepScheduleConfig> step{"step"};
const Registered<Schedule, MultiStepSchedule, MultiStepScheduleConfig> multi_step{"multi_step"};
const Registered<Schedule, MultiStepSchedule, MultiStepMultiGammaScheduleConfig> multi_gamma{"multi_step_multi_gamma"};
const Registered<Schedule, CosineSchedule, CosineScheduleConfig> cosine{"cosine"};
const Registered<Schedule, OneCycleSchedule, OneCycleScheduleConfig> one_cycle{"one_cycle"};
const Registered<Schedule, PolynomialSchedule, PolynomialScheduleConfig> polynomial{"polynomial"};

// Half a cosine from `from` at 0 to `to` at 1.
double half_cosine(double from, double to, double t) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

void check_increasing(const std::vector<double>& milestones) {
  const auto it = std::ranges::adjacent_find(milestones, std::greater_equal<>());
  check(it == milestones.end(), "learning-rate schedule: milestones must increase, got {} before {}",
        it == milestones.end() ? 0 : *it, it == milestones.end() ? 0 : *(it + 1));
}

double progress(double epoch, double total_epochs) {
  return total_epochs > 0 ? std::clamp(epoch / total_epochs, 0.0, 1.0) : 0;
}

}  // namespace

float Schedule::lr(float base_lr, double epoch, double total_epochs) const {
  double warmup = 1;
  if (epoch < warmup_.warmup_epochs)
    warmup = warmup_.warmup_start_factor + (1 - warmup_.warmup_start_factor) * epoch / warmup_.warmup_epochs;
  return static_cast<float>(base_lr * warmup * factor(epoch, total_epochs));
}

double StepSchedule::factor(double epoch, double) const {
  return std::pow(config_.gamma, std::floor(epoch / config_.step_size));
}

MultiStepSchedule::MultiStepSchedule(const MultiStepScheduleConfig& config)
    : Schedule(config), milestones_(config.milestones), gammas_(config.milestones.size(), config.gamma) {
  check_increasing(milestones_);
}

MultiStepSchedule::MultiStepSchedule(const MultiStepMultiGammaScheduleConfig& config)
    : Schedule(config), milestones_(config.milestones), gammas_(config.gammas) {
  check_increasing(milestones_);
  check(milestones_.size() == gammas_.size(), "multi_step_multi_gamma: {} milestones, but {} gammas",
        milestones_.size(), gammas_.size());
}

double MultiStepSchedule::factor(double epoch, double) const {
  double product = 1;
  for (size_t i = 0; i < milestones_.size() && milestones_[i] <= epoch; ++i) product *= gammas_[i];
  return product;
}

double CosineSchedule::factor(double epoch, double total_epochs) const {
  return half_cosine(1, min_factor_, progress(epoch, total_epochs));
}

double OneCycleSchedule::factor(double epoch, double total_epochs) const {
  const double t = progress(epoch, total_epochs), start = 1 / config_.div_factor,
               end = start / config_.final_div_factor;
  if (t < config_.rise_share) return half_cosine(start, 1, t / config_.rise_share);
  return config_.rise_share < 1 ? half_cosine(1, end, (t - config_.rise_share) / (1 - config_.rise_share)) : 1;
}

double PolynomialSchedule::factor(double epoch, double total_epochs) const {
  return std::pow(1 - progress(epoch, total_epochs), power_);
}

}  // namespace qgrad
