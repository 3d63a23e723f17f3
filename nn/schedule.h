// Learning-rate schedules: pure functions of how far training has come.
#pragma once

#include <vector>

#include "core/registry.h"

namespace qgrad {

// What every schedule's config has.
struct ScheduleConfig {
  double warmup_epochs = 0;
  double warmup_start_factor = 0.1;
};
template <class V>
void fields(V& v, ScheduleConfig& c) {
  v("warmup_epochs", c.warmup_epochs, {.help = "the learning rate is scaled up linearly over these epochs", .min = 0});
  v("warmup_start_factor", c.warmup_start_factor,
    {.help = "what warm-up starts from, as a factor", .min = 0, .max = 1});
}

class Schedule {
 public:
  static constexpr const char* kRole = "learning-rate schedule";
  virtual ~Schedule() = default;

  // The learning rate `epoch` epochs after the start (with a fraction, for single steps) of a training of total_epochs.
  // Warm-up multiplies: over the first warmup_epochs by a factor that grows linearly from warmup_start_factor to 1
  // ("gradual warmup", Goyal et al. 2017, section 2.2).
  float lr(float base_lr, double epoch, double total_epochs) const;

 protected:
  explicit Schedule(const ScheduleConfig& config) : warmup_(config) {}
  // Of the base learning rate.
  virtual double factor(double epoch, double total_epochs) const = 0;

 private:
  ScheduleConfig warmup_;
};

// "constant": 1.
class ConstantSchedule final : public Schedule {
 public:
  explicit ConstantSchedule(const ScheduleConfig& config) : Schedule(config) {}

 protected:
  double factor(double, double) const override { return 1; }
};

// "step": gamma^floor(epoch / step_size) (PyTorch StepLR).
struct StepScheduleConfig : ScheduleConfig {
  double step_size = 30;
  double gamma = 0.1;
};
template <class V>
void fields(V& v, StepScheduleConfig& c) {
  v("step_size", c.step_size, {.help = "epochs between two reductions", .min = 0, .above_min = true});
  v("gamma", c.gamma, {.help = "factor of each reduction", .min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}
class StepSchedule final : public Schedule {
 public:
  explicit StepSchedule(const StepScheduleConfig& config) : Schedule(config), config_(config) {}

 protected:
  double factor(double epoch, double total_epochs) const override;

 private:
  StepScheduleConfig config_;
};

// "multi_step": gamma^(number of milestones reached) (PyTorch MultiStepLR).
struct MultiStepScheduleConfig : ScheduleConfig {
  std::vector<double> milestones;
  double gamma = 0.1;
};
template <class V>
void fields(V& v, MultiStepScheduleConfig& c) {
  v("milestones", c.milestones, {.help = "epochs of the reductions, in order", .min = 0, .required = true});
  v("gamma", c.gamma, {.help = "factor of each reduction", .min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}

// "multi_step_multi_gamma": the product of the gammas whose milestones are reached (Distiller MultiStepMultiGammaLR).
struct MultiStepMultiGammaScheduleConfig : ScheduleConfig {
  std::vector<double> milestones, gammas;
};
template <class V>
void fields(V& v, MultiStepMultiGammaScheduleConfig& c) {
  v("milestones", c.milestones, {.help = "epochs of the reductions, in order", .min = 0, .required = true});
  v("gammas", c.gammas, {.help = "one factor per milestone", .min = 0, .required = true});
  fields(v, static_cast<ScheduleConfig&>(c));
}
class MultiStepSchedule final : public Schedule {
 public:
  explicit MultiStepSchedule(const MultiStepScheduleConfig& config);
  explicit MultiStepSchedule(const MultiStepMultiGammaScheduleConfig& config);

 protected:
  double factor(double epoch, double total_epochs) const override;

 private:
  std::vector<double> milestones_, gammas_;
};

// "cosine": min + (1 - min) * (1 + cos(pi * epoch / total)) / 2 (Loshchilov and Hutter 2017, SGDR, equation 5, without
// restarts).
struct CosineScheduleConfig : ScheduleConfig {
  double min_factor = 0;
};
template <class V>
void fields(V& v, CosineScheduleConfig& c) {
  v("min_factor", c.min_factor, {.help = "what the learning rate ends at, as a factor", .min = 0, .max = 1});
  fields(v, static_cast<ScheduleConfig&>(c));
}
class CosineSchedule final : public Schedule {
 public:
  explicit CosineSchedule(const CosineScheduleConfig& config) : Schedule(config), min_factor_(config.min_factor) {}

 protected:
  double factor(double epoch, double total_epochs) const override;

 private:
  double min_factor_;
};

// "one_cycle": a cosine from 1 / div_factor up to 1 over the first rise_share of training, then one down to
// 1 / (div_factor * final_div_factor) (Smith and Topin 2017; PyTorch OneCycleLR). The base learning rate is the peak.
struct OneCycleScheduleConfig : ScheduleConfig {
  double rise_share = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;
};
template <class V>
void fields(V& v, OneCycleScheduleConfig& c) {
  v("rise_share", c.rise_share, {.help = "part of training in which the learning rate rises", .min = 0, .max = 1});
  v("div_factor", c.div_factor, {.help = "peak over start", .min = 1});
  v("final_div_factor", c.final_div_factor, {.help = "start over end", .min = 1});
  fields(v, static_cast<ScheduleConfig&>(c));
}
class OneCycleSchedule final : public Schedule {
 public:
  explicit OneCycleSchedule(const OneCycleScheduleConfig& config) : Schedule(config), config_(config) {}

 protected:
  double factor(double epoch, double total_epochs) const override;

 private:
  OneCycleScheduleConfig config_;
};

// "polynomial": (1 - epoch / total)^power (Distiller PolynomialLR).
struct PolynomialScheduleConfig : ScheduleConfig {
  double power = 1;
};
template <class V>
void fields(V& v, PolynomialScheduleConfig& c) {
  v("power", c.power, {.min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}
class PolynomialSchedule final : public Schedule {
 public:
  explicit PolynomialSchedule(const PolynomialScheduleConfig& config) : Schedule(config), power_(config.power) {}

 protected:
  double factor(double epoch, double total_epochs) const override;

 private:
  double power_;
};

}  // namespace qgrad
