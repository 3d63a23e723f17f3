// Parameters as variables of a minimisation.
#include "quant/post_train/lapq.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tape.h"
#include "quant/post_train/powell.h"
#include "quant/ranges/reductions.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {
namespace {

constexpr double kFirstStep = 0.1;  // of a parameter's size
constexpr double kSmallest = 0.01;  // what is left of a parameter's size at the least

// One scale or clipping parameter and what it was at first. Variables are changes in parts of the parameter's size.
struct Searched {
  NamedQuantParam param;
  std::vector<float> first;
  size_t variables;  // 1: one value, or a factor for all channels; 2: minimum and maximum

  std::vector<float> values(std::span<const double> x) const {
    std::vector<float> values = first;
    if (variables == 1) {
      for (float& value : values) value *= static_cast<float>(std::max(std::fabs(1 + x[0]), kSmallest));
    } else {
      const double size = double{first[1]} - double{first[0]};
      const double one = first[0] + x[0] * size, other = first[1] + x[1] * size, low = std::min(one, other);
      values = {static_cast<float>(low), static_cast<float>(std::max({one, other, low + kSmallest * size}))};
    }
    return values;
  }
};

std::vector<Searched> searched_params(Module& model, bool clipping) {
  std::vector<Searched> found;
  const std::vector<NamedQuantParam> all = named_quant_params(model);
  for (size_t i = 0; i + 2 < all.size(); i += 3) {  // scale, zero point and clipping of one tensor
    const NamedQuantParam& scale = all[i];
    if (!scale.free) continue;
    check(
        clipping || !all[i + 1].free,
        "LAPQ: {} is to be searched, but its zero point would have to follow: set search_clipping, or a symmetric mode",
        scale.name);
    const NamedQuantParam& param = clipping ? all[i + 2] : scale;
    const std::vector<float> values = param.get();
    const bool pair = clipping && scale.get().size() == 1 && values.size() == 2;
    if (pair && values[1] <= values[0]) continue;  // an output that was always 0
    found.push_back({param, values, pair ? size_t{2} : size_t{1}});
  }
  return found;
}

// Sets those parameters whose variables changed since the last time.
class Variables {
 public:
  explicit Variables(std::vector<Searched> params) : params_(std::move(params)) {
    for (const Searched& param : params_) {
      count_ += param.variables;
      param.param.set(param.first);  // so that the layer has what its values say, to the last bit
    }
    now_.assign(count_, 0.0);
  }

  // What every parameter is set to, by name.
  Json json() const {
    Json all = Json::object();
    size_t at = 0;
    for (const Searched& param : params_) {
      std::vector<float> values = param.values(std::span(now_).subspan(at, param.variables));
      all[param.param.name] = values.size() == 1 ? write_config(values[0]) : write_config(values);
      at += param.variables;
    }
    return all;
  }

  void set(std::span<const double> x) {
    size_t at = 0;
    for (const Searched& param : params_) {
      const auto part = x.subspan(at, param.variables);
      if (!std::equal(part.begin(), part.end(), now_.begin() + static_cast<std::ptrdiff_t>(at)))
        param.param.set(param.values(part));
      at += param.variables;
    }
    now_.assign(x.begin(), x.end());
  }

  // Powell's method from where the parameters are, which are left at the best.
  PowellResult minimize(const std::function<double()>& cost, const PowellOptions& options,
                        const std::function<void(const PowellResult&)>& progress) {
    const auto f = [&](std::span<const double> x) {
      set(x);
      const double value = cost();
      return std::isnan(value) ? std::numeric_limits<double>::infinity() : value;
    };
    const std::vector<double> steps(count_, kFirstStep);
    PowellResult result = minimize_powell(f, std::vector<double>(count_, 0.0), steps, options, progress);
    set(result.x);
    return result;
  }

 private:
  std::vector<Searched> params_;
  size_t count_ = 0;
  std::vector<double> now_;
};

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
  visit_modules(quantized, [&](Module& module) {
    if (auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(&module)) recorder.wrappers[module.path()] = wrapper;
  });
  {
    const Observing observing(recorder);
    reference(images);
  }
  std::map<std::string, std::vector<Searched>> by_layer;
  for (Searched& param : searched_params(quantized, config.search_clipping))
    by_layer[param.param.name.substr(0, param.param.name.rfind('.'))].push_back(std::move(param));
  for (auto& [path, params] : by_layer) {
    const auto example = recorder.examples.find(path);
    if (example == recorder.examples.end()) continue;
    RangeLinearQuantWrapper& wrapper = *recorder.wrappers.at(path);
    const auto cost = [&] {
      return lp_loss(wrapper.call(example->second.inputs).data(), example->second.output.data(), power);
    };
    Variables(std::move(params))
        .minimize(cost,
                  {.max_iterations = 5, .max_evaluations = config.init_evaluations, .line = {.max_evaluations = 12}},
                  [](const PowellResult&) {});
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
  if (config.init >= LapqInit::l1)
    init_layers(quantized, reference, images, 1 + static_cast<int>(config.init) - static_cast<int>(LapqInit::l1),
                config);
  std::vector<Searched> params = searched_params(quantized, config.search_clipping);
  check(!params.empty(),
        "LAPQ: the model has no free parameter to search: static quantization and save_fp_weights are "
        "needed");
  LapqResult result;
  bool is_first = true;
  const auto cost = [&] {
    const double value = loss(quantized);
    if (is_first) result.first_loss = value;
    is_first = false;
    return value;
  };
  Variables variables(std::move(params));
  const PowellResult best =
      variables.minimize(cost,
                         {.max_iterations = config.max_iterations,
                          .max_evaluations = config.max_evaluations,
                          .line = {.max_evaluations = config.evaluations_per_line}},
                         [&](const PowellResult& so_far) { progress(so_far.value, so_far.evaluations); });
  result.loss = best.value;
  result.evaluations = best.evaluations;
  result.quant_params = variables.json();
  return result;
}

}  // namespace qgrad
