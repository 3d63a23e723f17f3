// Batch-norm folding.
#include "nn/fold.h"

#include <cmath>
#include <set>

#include "core/ops.h"
#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"

namespace qgrad {

LayerParameters layer_parameters(Module& layer) {
  if (auto* conv = dynamic_cast<Conv2d*>(&layer)) return {conv->weight, conv->bias};
  auto* linear = dynamic_cast<Linear*>(&layer);
  check(linear, "expected a Conv2d or a Linear, got a {}", layer.kind());
  return {linear->weight, linear->bias};
}

void give_bias(const LayerParameters& layer) {
  if (!layer.bias.defined()) layer.bias.set_raw(Tensor::zeros({layer.weight.raw().dim(-1)}));
}

Tensor layer_output(const Module& layer, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (const auto* conv = dynamic_cast<const Conv2d*>(&layer)) return conv2d(x, weight, bias, conv->config().options);
  return linear(x, weight, bias);
}

std::vector<FoldedBatchNorm> foldable_batch_norms(const Graph& graph) {
  std::vector<FoldedBatchNorm> pairs;
  for (const auto& [conv, norm] : graph.chains("Conv2d", "BatchNorm2d")) pairs.push_back({conv->name, norm->name});
  for (const auto& [linear, norm] : graph.chains("Linear", "BatchNorm1d")) pairs.push_back({linear->name, norm->name});
  return pairs;
}

// In the order of Distiller's operations (sim_bn_fold.py, freeze), so that folded weights are the same to the last bit:
//   r = 1 / sqrt(var + eps);  w *= gamma * r;  b = beta - (gamma * (mean - b)) * r
// The output channel is the last dimension of convolution and linear weights alike.
void fold_batch_norm(Module& layer, const BatchNorm& norm) {
  const auto [weight, bias] = layer_parameters(layer);
  const auto channels = static_cast<size_t>(norm.config().features);
  const auto at = [](const Parameter& p, size_t c, float absent) { return p.defined() ? p.raw().data()[c] : absent; };

  std::vector<float> factor(channels);
  Tensor folded_bias = Tensor::empty({norm.config().features});
  for (size_t c = 0; c < channels; ++c) {
    const float gamma = at(norm.weight, c, 1), beta = at(norm.bias, c, 0);
    const float reciprocal_sigma = 1.0f / std::sqrt(norm.running_var().data()[c] + norm.config().eps);
    const float mean = norm.running_mean().data()[c] - at(bias, c, 0);
    factor[c] = gamma * reciprocal_sigma;
    folded_bias.mutable_data()[c] = beta - gamma * mean * reciprocal_sigma;
  }

  Tensor folded_weight = weight.raw().clone();
  const std::span<float> w = folded_weight.mutable_data();
  for (size_t i = 0; i < w.size(); ++i) w[i] *= factor[i % channels];
  weight.set_raw(folded_weight);
  bias.set_raw(folded_bias);
}

std::vector<FoldedBatchNorm> fold_batch_norms(ModulePtr& model, const Graph& graph) {
  const std::vector<FoldedBatchNorm> pairs = foldable_batch_norms(graph);
  std::set<const Module*> done;
  for (const FoldedBatchNorm& pair : pairs) {
    const Module* norm = graph.find(pair.batch_norm)->module;
    fold_batch_norm(*graph.find(pair.layer)->module, dynamic_cast<const BatchNorm&>(*norm));
    done.insert(norm);
  }
  model = rewrite(std::move(model), [&](const std::string&, ModulePtr module) -> ModulePtr {
    if (done.contains(module.get())) return std::make_unique<Identity>();
    return module;
  });
  return pairs;
}

}  // namespace qgrad
