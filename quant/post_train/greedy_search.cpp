// Trying clip modes one layer at a time.
#include "quant/post_train/greedy_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tape.h"
#include "quant/simulation/layer.h"

namespace qgrad {
namespace {

Json or_null(const std::optional<int>& bits) { return bits ? Json(*bits) : Json(nullptr); }

// Of a layer's settings, those that count in this clip mode.
Json settings_of(const Quantizer::Resolved& layer, ClipMode mode) {
  Json all = layer.settings.json(), settings = Json::object();
  all["bits_activations"] = or_null(layer.bits.activations);
  all["bits_weights"] = or_null(layer.bits.weights);
  all["clip_acts"] = enum_name(mode);
  if (mode != ClipMode::n_std) all.erase("clip_n_stds");
  if (mode != ClipMode::percentile) all.erase("clip_percentile");
  for (const auto& [key, value] : all.items())
    if (std::ranges::count(layer.takes, key) > 0) settings[key] = value;
  return settings;
}

}  // namespace

GreedyResult greedy_search(const Json& quantizer, const std::function<ModulePtr()>& float_model,
                           const QuantStats& stats, const Tensor& example, const std::function<double(Module&)>& cost,
                           const GreedyConfig& config,
                           const std::function<void(const std::string& path, size_t done, size_t all)>& progress) {
  check(!config.clip_modes.empty(), "greedy search: no clip modes to try");
  const Tape::Paused paused;
  struct Prepared {
    ModulePtr model;
    std::unique_ptr<Quantizer> quantizer;
  };
  const auto prepared = [&](const Json& settings) {
    Prepared result{float_model(), Registry<Quantizer>::create({settings, "", "quantizer"})};
    result.quantizer->set_stats(stats);
    result.quantizer->prepare(result.model, nullptr, example);
    result.model->set_training(false);
    return result;
  };

  const Prepared whole = prepared(quantizer);
  std::vector<std::string> paths;
  for (const CalledLayer& called : called_layers(*whole.model, example)) paths.push_back(called.layer->path());
  check(!paths.empty(),
        "greedy search: no layer computes on integers, as those of PostTrainLinearQuantizer do: it has clip modes to "
        "try");
  GreedyResult result{.quantizer = quantizer};
  result.quantizer["bits_activations"] = result.quantizer["bits_weights"] = nullptr;
  Json& overrides = result.quantizer["overrides"] = Json::object();
  for (size_t i = 0; i < paths.size(); ++i) {
    const std::string& path = paths[i];
    const auto layer = std::ranges::find(whole.quantizer->resolved(), path, &Quantizer::Resolved::path);
    check(layer != whole.quantizer->resolved().end(), "greedy search: '{}' has no settings", path);
    std::optional<Json> best;
    for (const ClipMode mode : config.clip_modes) {
      const Json settings = settings_of(*layer, mode);
      overrides[path] = settings;
      const double measured = cost(*prepared(result.quantizer).model);
      const double value = std::isnan(measured) ? std::numeric_limits<double>::infinity() : measured;
      ++result.evaluations;
      if (best && !(value < result.cost)) continue;
      best = settings;
      result.cost = value;
    }
    overrides[path] = *best;
    progress(path, i + 1, paths.size());
  }
  return result;
}

}  // namespace qgrad
