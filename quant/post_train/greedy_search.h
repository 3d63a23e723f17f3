// Greedy search for clip modes: layer after layer, the mode that costs least.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "quant/post_train/linear.h"

namespace qgrad {

struct GreedyConfig {
  std::vector<ClipMode> clip_modes{ClipMode::none, ClipMode::avg, ClipMode::gauss, ClipMode::laplace};
};
inline void fields(Fields& v, GreedyConfig& c) {
  v("clip_modes", c.clip_modes, {.help = "what is tried for every layer"});
}

struct GreedyResult {
  Json quantizer;   // a config like the given one: nothing quantized but by its overrides, one for every layer
  double cost = 0;  // of the model with all layers quantized
  int evaluations = 0;
};

// In the order of execution every layer that `quantizer` (a config of PostTrainLinearQuantizer) quantizes is quantized
// with each of the clip modes, the layers before it with the mode that was chosen for them, those after it in float;
// the mode with the least cost(model) is kept, of equals the first. (Distiller ptq_greedy_search.py, with the layers'
// own settings in place of fixed ones)
// float_model: makes the float model that stats belong to (after prepare_float). `progress` is told every choice.
GreedyResult greedy_search(const Json& quantizer, const std::function<ModulePtr()>& float_model,
                           const QuantStats& stats, const Tensor& example, const std::function<double(Module&)>& cost,
                           const GreedyConfig& config,
                           const std::function<void(const std::string& path, size_t done, size_t all)>& progress);

}  // namespace qgrad
