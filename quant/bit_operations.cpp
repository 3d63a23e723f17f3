// Calls of one layer are added up.
#include "quant/bit_operations.h"

#include <algorithm>

namespace qgrad {

std::vector<LayerWork> work_of_layers(const Graph& graph, const std::vector<Quantizer::Resolved>& resolved) {
  std::vector<LayerWork> work;
  for (const GraphNode& node : graph.nodes()) {
    if (!node.module || !node.module->weighted_sum()) continue;
    const std::string path = node.path();
    auto layer = std::ranges::find(work, path, &LayerWork::layer);
    if (layer == work.end()) {
      const auto settings = std::ranges::find(resolved, path, &Quantizer::Resolved::path);
      layer = work.insert(work.end(), {.layer = path});
      if (settings != resolved.end()) {
        layer->bits_weights = settings->bits.weights.value_or(layer->bits_weights);
        layer->input = settings->input.value_or(layer->input);
      }
    }
    layer->multiplications += graph.multiplications(node);
  }
  return work;
}

}  // namespace qgrad
