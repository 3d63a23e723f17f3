// Finding units.
#include "quant/post_train/reconstruction_units.h"

#include <algorithm>
#include <utility>

namespace qgrad {

std::vector<ReconstructionUnit> reconstruction_units(const Graph& graph, const std::vector<bool>& weighted,
                                                     const std::vector<bool>& attached) {
  const size_t count = graph.nodes().size();
  std::vector<size_t> last_use(count);
  for (size_t i = 0; i < count; ++i) last_use[i] = graph[i].succs.empty() ? i : std::ranges::max(graph[i].succs);
  last_use[graph.output()] = count;
  std::vector<ReconstructionUnit> units;
  ReconstructionUnit unit;
  size_t waiting = 0;  // the largest last use of the nodes before
  bool has_weights = false;
  for (size_t i = 0; i < count; ++i) {
    if (!graph[i].is_input()) {
      unit.nodes.push_back(i);
      has_weights = has_weights || weighted[i];
    }
    const bool alone = waiting <= i && last_use[i] > i;
    waiting = std::max(waiting, last_use[i]);
    if (!alone) continue;
    if (unit.nodes.empty()) {
      unit.entry = i;
    } else if (has_weights && (i + 1 == count || !attached[i + 1])) {
      units.push_back(std::move(unit));
      unit = {.entry = i, .nodes = {}};
      has_weights = false;
    }
  }
  if (!units.empty()) units.back().nodes.insert(units.back().nodes.end(), unit.nodes.begin(), unit.nodes.end());
  return units;
}

std::vector<ReconstructionUnit> joined_stages(std::vector<ReconstructionUnit> units, const Graph& graph) {
  std::vector<ReconstructionUnit> stages;
  for (ReconstructionUnit& unit : units) {
    if (stages.empty() || graph[stages.back().exit()].output_shape != graph[unit.exit()].output_shape)
      stages.push_back(std::move(unit));
    else
      stages.back().nodes.insert(stages.back().nodes.end(), unit.nodes.begin(), unit.nodes.end());
  }
  return stages;
}

std::vector<ReconstructionUnit> layers_of(const ReconstructionUnit& unit, const Graph& graph,
                                          const std::vector<bool>& weighted, const std::vector<bool>& attached) {
  std::vector<ReconstructionUnit> layers;
  for (auto at = unit.nodes.begin(); at != unit.nodes.end(); ++at) {
    if (!weighted[*at]) continue;
    ReconstructionUnit layer{.entry = graph[*at].preds[0], .nodes = {*at}};
    for (auto next = at + 1; next != unit.nodes.end(); ++next)  // other branches may come between
      if (attached[*next] && graph[*next].preds[0] == layer.exit()) layer.nodes.push_back(*next);
    while (layer.entry != unit.entry && !weighted[layer.entry] && !attached[layer.entry] &&
           graph[layer.entry].preds.size() == 1) {
      layer.nodes.insert(layer.nodes.begin(), layer.entry);
      layer.entry = graph[layer.entry].preds[0];
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace qgrad
