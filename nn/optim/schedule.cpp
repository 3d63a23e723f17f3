// The learning-rate schedules: their settings and formulas.
#include "nn/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace qgrad {
namespace {

// A schedule is its config with a function `factor`.
template <class C>
class ScheduleOf final : public Schedule {
 public:
  explicit ScheduleOf(const C& config) : Schedule(config), config_(config) {
    if constexpr (requires { config.check_settings(); }) config.check_settings();
  }

 protected:
  double factor(double epoch, double total_epochs) const override { return config_.factor(epoch, total_epochs); }

 private:
  C config_;
};

double progress(double epoch, double total_epochs) {
  return total_epochs > 0 ? std::clamp(epoch / total_epochs, 0.0, 1.0) : 0;
}

// Half a cosine from `from` at 0 to `to` at 1.
double half_cosine(double from, double to, double t) {
  return to + (from - to) * (1 + std::cos(std::numbers::pi * t)) / 2;
}

// 1.
struct ConstantSchedule : ScheduleConfig {
  double factor(double, double) const { return 1; }
};
void fields(Fields& v, ConstantSchedule& c) { fields(v, static_cast<ScheduleConfig&>(c)); }

// gamma^floor(epoch / step_size) (PyTorch StepLR).
struct StepSchedule : ScheduleConfig {
  double step_size = 30;
  double gamma = 0.1;
  double factor(double epoch, double) const { return std::pow(gamma, std::floor(epoch / step_size)); }
};
void fields(Fields& v, StepSchedule& c) {
  v("step_size", c.step_size, {.help = "epochs between two reductions", .min = 0, .above_min = true});
  v("gamma", c.gamma, {.help = "factor of each reduction", .min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}

size_t milestones_reached(const std::vector<double>& milestones, double epoch) {
  return static_cast<size_t>(std::ranges::upper_bound(milestones, epoch) - milestones.begin());
}

void check_increasing(const std::vector<double>& milestones) {
  const auto it = std::ranges::adjacent_find(milestones, std::greater_equal<>());
  check(it == milestones.end(), "learning-rate schedule: milestones must increase, got {} before {}",
        it == milestones.end() ? 0 : *it, it == milestones.end() ? 0 : *(it + 1));
}

// gamma^(number of milestones reached) (PyTorch MultiStepLR).
struct MultiStepSchedule : ScheduleConfig {
  std::vector<double> milestones;
  double gamma = 0.1;
  void check_settings() const { check_increasing(milestones); }
  double factor(double epoch, double) const {
    return std::pow(gamma, static_cast<double>(milestones_reached(milestones, epoch)));
  }
};
void fields(Fields& v, MultiStepSchedule& c) {
  v("milestones", c.milestones, {.help = "epochs of the reductions, in order", .min = 0, .required = true});
  v("gamma", c.gamma, {.help = "factor of each reduction", .min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}

// The product of the gammas whose milestones are reached (Distiller MultiStepMultiGammaLR).
struct MultiStepMultiGammaSchedule : ScheduleConfig {
  std::vector<double> milestones, gammas;
  void check_settings() const {
    check_increasing(milestones);
    check(milestones.size() == gammas.size(), "multi_step_multi_gamma: {} milestones, but {} gammas", milestones.size(),
          gammas.size());
  }
  double factor(double epoch, double) const {
    double product = 1;
    for (size_t i = 0; i < milestones_reached(milestones, epoch); ++i) product *= gammas[i];
    return product;
  }
};
void fields(Fields& v, MultiStepMultiGammaSchedule& c) {
  v("milestones", c.milestones, {.help = "epochs of the reductions, in order", .min = 0, .required = true});
  v("gammas", c.gammas, {.help = "one factor per milestone", .min = 0, .required = true});
  fields(v, static_cast<ScheduleConfig&>(c));
}

// min + (1 - min) * (1 + cos(pi * epoch / total)) / 2 (Loshchilov and Hutter 2017, SGDR, equation 5, without restarts).
struct CosineSchedule : ScheduleConfig {
  double min_factor = 0;
  double factor(double epoch, double total_epochs) const {
    return half_cosine(1, min_factor, progress(epoch, total_epochs));
  }
};
void fields(Fields& v, CosineSchedule& c) {
  v("min_factor", c.min_factor, {.help = "what the learning rate ends at, as a factor", .min = 0, .max = 1});
  fields(v, static_cast<ScheduleConfig&>(c));
}

// A cosine from 1 / div_factor up to 1 over the first rise_share of training, then one down to
// 1 / (div_factor * final_div_factor) (Smith and Topin 2017; PyTorch OneCycleLR). The base learning rate is the peak.
struct OneCycleSchedule : ScheduleConfig {
  double rise_share = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;
  double factor(double epoch, double total_epochs) const {
    const double t = progress(epoch, total_epochs), start = 1 / div_factor, end = start / final_div_factor;
    if (t < rise_share) return half_cosine(start, 1, t / rise_share);
    return rise_share < 1 ? half_cosine(1, end, (t - rise_share) / (1 - rise_share)) : 1;
  }
};
void fields(Fields& v, OneCycleSchedule& c) {
  v("rise_share", c.rise_share, {.help = "part of training in which the learning rate rises", .min = 0, .max = 1});
  v("div_factor", c.div_factor, {.help = "peak over start", .min = 1});
  v("final_div_factor", c.final_div_factor, {.help = "start over end", .min = 1});
  fields(v, static_cast<ScheduleConfig&>(c));
}

// (1 - epoch / total)^power (Distiller PolynomialLR).
struct PolynomialSchedule : ScheduleConfig {
  double power = 1;
  double factor(double epoch, double total_epochs) const { return std::pow(1 - progress(epoch, total_epochs), power); }
};
void fields(Fields& v, PolynomialSchedule& c) {
  v("power", c.power, {.help = "of the share of training that is left", .min = 0});
  fields(v, static_cast<ScheduleConfig&>(c));
}

template <class C>
using Entry = Registered<Schedule, ScheduleOf<C>, C>;
const Entry<ConstantSchedule> constant{"constant", "the learning rate stays"};
const Entry<StepSchedule> step{"step", "falls by a factor every so many epochs"};
const Entry<MultiStepSchedule> multi_step{"multi_step", "falls by a factor at given epochs"};
const Entry<MultiStepMultiGammaSchedule> multi_step_multi_gamma{"multi_step_multi_gamma",
                                                                "falls at given epochs, by a factor for each"};
const Entry<CosineSchedule> cosine{"cosine", "falls along half a cosine"};
const Entry<OneCycleSchedule> one_cycle{"one_cycle", "rises and falls once"};
const Entry<PolynomialSchedule> polynomial{"polynomial", "falls with a power of what is left"};

}  // namespace

float Schedule::lr(float base_lr, double epoch, double total_epochs) const {
  double warmup = 1;
  if (epoch < warmup_.warmup_epochs)
    warmup = warmup_.warmup_start_factor + (1 - warmup_.warmup_start_factor) * epoch / warmup_.warmup_epochs;
  return static_cast<float>(base_lr * warmup * factor(epoch, total_epochs));
}

}  // namespace qgrad
