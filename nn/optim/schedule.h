// Learning-rate schedules: pure functions of how far training has come. By name: constant, step, multi_step,
// multi_step_multi_gamma, cosine, one_cycle, polynomial; schedule.cpp has their settings and formulas.
#pragma once

#include "core/registry.h"

namespace qgrad {

// What every schedule's config has.
struct ScheduleConfig {
  double warmup_epochs = 0;
  double warmup_start_factor = 0.1;
};
inline void fields(Fields& v, ScheduleConfig& c) {
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

}  // namespace qgrad
