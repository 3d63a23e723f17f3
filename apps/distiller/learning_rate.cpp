// A struct and a function for each.
#include "apps/distiller/learning_rate.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "core/registry.h"
#include "nn/optim/schedule.h"

namespace qgrad {
namespace {

struct Span {
  int epochs;
  double base_lr;
};

struct MultiStepLR {
  std::vector<double> milestones;
  double gamma = 0.1;
  Json converted(const Span&) const { return {{"class", "multi_step"}, {"milestones", milestones}, {"gamma", gamma}}; }
};
void fields(Fields& v, MultiStepLR& s) {
  v("milestones", s.milestones, {.required = true});
  v("gamma", s.gamma);
}

struct MultiStepMultiGammaLR {
  std::vector<double> milestones, gammas;
  Json converted(const Span&) const {
    return {{"class", "multi_step_multi_gamma"}, {"milestones", milestones}, {"gammas", gammas}};
  }
};
void fields(Fields& v, MultiStepMultiGammaLR& s) {
  v("milestones", s.milestones, {.required = true});
  v("gammas", s.gammas, {.required = true});
}

struct StepLR {
  double step_size = 1, gamma = 0.1;
  Json converted(const Span&) const { return {{"class", "step"}, {"step_size", step_size}, {"gamma", gamma}}; }
};
void fields(Fields& v, StepLR& s) {
  v("step_size", s.step_size, {.min = 0, .above_min = true, .required = true});
  v("gamma", s.gamma);
}

struct ExponentialLR {
  double gamma = 1;
  Json converted(const Span&) const { return {{"class", "step"}, {"step_size", 1}, {"gamma", gamma}}; }
};
void fields(Fields& v, ExponentialLR& s) { v("gamma", s.gamma, {.required = true}); }

void check_falls_to_the_end(int T_max, const Span& training) {
  check(T_max == training.epochs, "T_max: expected the number of epochs, {} (--epochs), got {}", training.epochs,
        T_max);
}

struct CosineAnnealingLR {
  int T_max = 1;
  double eta_min = 0;
  Json converted(const Span& training) const {
    check_falls_to_the_end(T_max, training);
    check(training.base_lr > 0, "eta_min is a part of the learning rate: expected one above 0 (--lr), got {}",
          training.base_lr);
    return {{"class", "cosine"}, {"min_factor", eta_min / training.base_lr}};
  }
};
void fields(Fields& v, CosineAnnealingLR& s) {
  v("T_max", s.T_max, {.min = 1, .required = true});
  v("eta_min", s.eta_min, {.min = 0});
}

struct PolynomialLR {
  int T_max = 1;
  double power = 1;
  Json converted(const Span& training) const {
    check_falls_to_the_end(T_max, training);
    return {{"class", "polynomial"}, {"power", power}};
  }
};
void fields(Fields& v, PolynomialLR& s) {
  v("T_max", s.T_max, {.min = 1, .required = true});
  v("power", s.power, {.required = true});
}

using Convert = Json (*)(const Config& settings, const Span& training);
template <class Scheduler>
Json convert_as(const Config& settings, const Span& training) {
  return read_config<Scheduler>(settings).converted(training);
}
const std::map<std::string, Convert>& schedulers() {
  static const std::map<std::string, Convert> all = {{"MultiStepLR", convert_as<MultiStepLR>},
                                                     {"MultiStepMultiGammaLR", convert_as<MultiStepMultiGammaLR>},
                                                     {"StepLR", convert_as<StepLR>},
                                                     {"ExponentialLR", convert_as<ExponentialLR>},
                                                     {"CosineAnnealingLR", convert_as<CosineAnnealingLR>},
                                                     {"PolynomialLR", convert_as<PolynomialLR>}};
  return all;
}

}  // namespace

Json converted_learning_rate(const Config& scheduler, int epochs, double base_lr) {
  std::string name;
  read_onto(name, scheduler.at("class"));
  const auto found = schedulers().find(name);
  if (found == schedulers().end()) {
    std::vector<std::string> known;
    for (const auto& [scheduler_class, convert] : schedulers()) known.push_back(scheduler_class);
    config_error(scheduler.where("class"), "qgrad has no counterpart of '{}'; it has those of {}", name, joined(known));
  }
  return placed_at(scheduler, [&] {
    Json schedule = found->second(ClassRegistry::without_class(scheduler), {epochs, base_lr});
    Registry<Schedule>::create(Config{schedule, "", "as a schedule of qgrad"});  // throws what `train` would
    return schedule;
  });
}

}  // namespace qgrad
