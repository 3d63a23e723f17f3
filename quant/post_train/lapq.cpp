// Parameters as variables of a minimisation, one line search after another.
#include "quant/post_train/lapq.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/error.h"
#include "core/tape.h"
#include "quant/post_train/line_search.h"
#include "quant/ranges/reductions.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {
namespace {

constexpr double kFirstStep = 0.1;  // of a parameter's size
constexpr double kSmallest = 0.01;  // what is left of a parameter's size at the least

// One scale or clipping parameter. Variables are changes in parts of its size.
struct Searched {
  NamedQuantParam param;
  std::vector<float> first;  // what it was at first
  std::vector<double> x;     // one value, or a factor for all channels; or minimum and maximum

  std::vector<float> values() const {
    std::vector<float> values = first;
    if (!param.is_range) {
      for (float& value : values) value *= static_cast<float>(std::max(std::fabs(1 + x[0]), kSmallest));
    } else {
      const double size = double{first[1]} - double{first[0]};
      const double one = first[0] + x[0] * size, other = first[1] + x[1] * size, low = std::min(one, other);
      values = {static_cast<float>(low), static_cast<float>(std::max({one, other, low + kSmallest * size}))};
    }
    return values;
  }
  void set() const { param.set(values()); }
};

std::vector<Searched> searched_params(Module& model, bool clipping) {
  using Kind = NamedQuantParam::Kind;
  std::vector<Searched> searched;
  for (NamedQuantParam& param : named_quant_params(model)) {
    if (!param.free) continue;
    check(clipping || param.kind != Kind::zero_point,
          "LAPQ: {} would have to follow a scale that is searched: set search_clipping, or a symmetric mode",
          param.name);
    if (param.kind != (clipping ? Kind::clipping : Kind::scale)) continue;
    const std::vector<float> values = param.get();
    if (param.is_range && values[1] <= values[0]) continue;  // an output that was always 0
    const size_t variables = param.is_range ? 2 : 1;
    searched.push_back({std::move(param), values, std::vector<double>(variables, 0.0)});
  }
  return searched;
}

struct SearchBudget {
  int passes, evaluations, evaluations_per_line;
};

// One variable after another, each to the minimum on its line, until a pass gains next to nothing. The parameters are
// left at the best.
LapqResult minimize(std::vector<Searched> params, const std::function<double()>& cost, const SearchBudget& budget,
                    const std::function<void(double loss, int evaluations)>& watch) {
  constexpr double kLeastGain = 1e-4;  // of a pass, relative to the cost
  const auto measured = [&] {
    const double value = cost();
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
  };
  for (const Searched& param : params) param.set();  // so that the layer has what its values say, to the last bit
  LapqResult best{.evaluations = 1};
  best.first_loss = best.loss = measured();
  const auto may_go_on = [&] { return best.evaluations < budget.evaluations; };
  for (int pass = 0; pass < budget.passes && may_go_on(); ++pass) {
    const double before = best.loss;
    for (Searched& param : params)
      for (double& x : param.x) {
        if (!may_go_on()) break;
        const double start = x;
        const auto on_line = [&](double step) {
          x = start + step;
          param.set();
          return measured();
        };
        const LineMinimum found =
            minimize_on_line(on_line, best.loss, kFirstStep, {.max_evaluations = budget.evaluations_per_line});
        x = start + found.x;
        param.set();
        best.loss = found.value;
        best.evaluations += found.evaluations;
        watch(best.loss, best.evaluations);
      }
    if (2 * (before - best.loss) <= kLeastGain * (std::fabs(before) + std::fabs(best.loss))) break;
  }
  for (const Searched& param : params) {
    const std::vector<float> values = param.values();
    best.quant_params[param.param.name] = values.size() == 1 ? write_config(values[0]) : write_config(values);
  }
  return best;
}

// The float model's inputs and outputs of quantized layers, in one run.
struct Recorder final : CallObserver {
  struct Example {
    std::vector<Tensor> inputs;
    Tensor output;
  };
  std::map<std::string, RangeLinearQuantWrapper*> wrappers;
  std::map<std::string, Example> examples;

  void leave(Module& module, Inputs x, const Tensor& y) override {
    const auto wrapper = wrappers.find(module.path());
    if (wrapper == wrappers.end()) return;
    Example& example = examples[wrapper->first];
    example.inputs.clear();
    for (size_t i = 0; i < x.size(); ++i) {
      const auto& inputs = wrapper->second->quantization().inputs;
      const bool overridden = i < inputs.size() && inputs[i].overridden;
      example.inputs.push_back(overridden ? x[i] : wrapper->second->on_own_grid(i, x[i]));
    }
    example.output = wrapper->second->activated(y);
  }
};

// The parameters of every layer by themselves: least mean |y - y_q|^power.
void init_layers(Module& quantized, Module& reference, const Tensor& images, int power, const LapqConfig& config) {
  Recorder recorder;
  visit_modules<RangeLinearQuantWrapper>(
      quantized, [&](RangeLinearQuantWrapper& wrapper) { recorder.wrappers[wrapper.path()] = &wrapper; });
  {
    const Observing observing(recorder);
    reference(images);
  }
  std::map<std::string, std::vector<Searched>> by_layer;
  for (Searched& param : searched_params(quantized, config.search_clipping))
    by_layer[param.param.layer].push_back(std::move(param));
  for (auto& [path, params] : by_layer) {
    const auto example = recorder.examples.find(path);
    if (example == recorder.examples.end()) continue;
    RangeLinearQuantWrapper& wrapper = *recorder.wrappers.at(path);
    const auto cost = [&] {
      return lp_loss(wrapper.call(example->second.inputs).data(), example->second.output.data(), power);
    };
    minimize(std::move(params), cost, {.passes = 5, .evaluations = config.init_evaluations, .evaluations_per_line = 12},
             [](double, int) {});
  }
}

// p of |y - y_q|^p, where the search begins with the layers by themselves.
std::optional<int> power_of(LapqInit init) {
  switch (init) {
    case LapqInit::l1:
      return 1;
    case LapqInit::l2:
      return 2;
    case LapqInit::l3:
      return 3;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::vector<std::pair<std::string, LapqInit>> enum_names(LapqInit*) {
  return {{"NONE", LapqInit::none},   {"AVG", LapqInit::avg}, {"LAPLACE", LapqInit::laplace},
          {"GAUSS", LapqInit::gauss}, {"L1", LapqInit::l1},   {"L2", LapqInit::l2},
          {"L3", LapqInit::l3}};
}

LapqResult lapq_search(Module& quantized, Module& reference, const Tensor& images,
                       const std::function<double(Module&)>& loss, const LapqConfig& config,
                       const std::function<void(double loss, int evaluations)>& progress) {
  const Tape::Paused paused;
  if (const auto power = power_of(config.init)) init_layers(quantized, reference, images, *power, config);
  std::vector<Searched> params = searched_params(quantized, config.search_clipping);
  check(!params.empty(),
        "LAPQ: the model has no free parameter to search: static quantization and save_fp_weights are needed");
  return minimize(
      std::move(params), [&] { return loss(quantized); },
      {config.max_iterations, config.max_evaluations, config.evaluations_per_line}, progress);
}

}  // namespace qgrad
