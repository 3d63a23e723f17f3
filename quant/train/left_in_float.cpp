// Multiplications are counted on the graph, whose nodes say what stands before each layer.
#include "quant/train/left_in_float.h"

#include "core/json.h"
#include "nn/graph.h"
#include "nn/layers/weighted_sum.h"
#include "quant/quantization.h"

namespace qgrad {
namespace {

using Kind = Effect::Kind;

bool is_quantized(const GraphNode& node, const Graph& graph) {
  if (node.effect.kind == Kind::picks || node.effect.kind == Kind::moves || node.effect.kind == Kind::splits)
    return is_quantized(graph[node.preds.at(0)], graph);
  if (node.effect.kind == Kind::looks_up) return node.module->parameters()[0]->transform();
  return dynamic_cast<const Quantization*>(node.module);
}

std::string part_in_words(const LeftInFloat& layer) {
  return layer.weights && layer.input ? "weights and input" : layer.weights ? "weights" : "input";
}

}  // namespace

std::vector<LeftInFloat> left_in_float(Module& model, std::span<const Tensor> example) {
  const Graph graph = Graph::trace(model, example);
  std::vector<LeftInFloat> layers;
  double all = 0;
  for (const GraphNode& node : graph.nodes()) {
    const double count = graph.multiplications(node);
    if (count == 0) continue;
    all += count;
    const bool is_layer = node.module && node.module->weighted_sum();
    const bool weights = is_layer && !node.module->weighted_sum()->weight.transform();
    const bool input = !is_layer || !is_quantized(graph[node.preds.at(0)], graph);
    if (weights || input) layers.push_back({node.name, weights, input, count});
  }
  for (LeftInFloat& layer : layers) layer.share /= all;
  return layers;
}

std::string in_words(const std::vector<LeftInFloat>& layers) {
  constexpr size_t kNamed = 6;
  if (layers.empty()) return "";
  double share = 0;
  std::vector<std::string> names;
  for (const LeftInFloat& layer : layers) {
    share += layer.share;
    if (names.size() < kNamed) names.push_back(fmt::format("{} ({})", layer.path, part_in_words(layer)));
  }
  if (layers.size() > kNamed) names.push_back(fmt::format("and {} more", layers.size() - kNamed));
  return fmt::format("left in float, {:.1f} % of the multiplications: {}", 100 * share, joined(names));
}

}  // namespace qgrad
