// Batch-norm folding.
#include "nn/fold.h"

#include <cmath>
#include <set>

#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {

LayerParameters layer_parameters(Module& layer) {
  WeightedSum* sum = layer.weighted_sum();
  check(sum, "expected a layer of weighted sums, as Conv2d or Linear, got a {}", layer.kind());
  return {sum->weight, sum->bias};
}

void give_bias(const LayerParameters& layer) {
  if (!layer.bias.defined()) layer.bias.set_raw(Tensor::zeros({layer.weight.raw().dim(-1)}));
}

bool belong_together(Module& layer, Module& norm) {
  return layer.weighted_sum() && norm.batch_norm() &&
         norm.batch_norm()->of_images() == (layer.weighted_sum()->weight.raw().rank() == 4);
}

std::vector<FoldedBatchNorm> foldable_batch_norms(const Graph& graph) {
  std::vector<FoldedBatchNorm> pairs;
  for (const GraphNode& node : graph.nodes()) {
    const GraphNode* next = graph.sole_successor(node);
    if (next && belong_together(*node.module, *next->module)) pairs.push_back({node.name, next->name});
  }
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
    Module* norm = graph.find(pair.batch_norm)->module;
    fold_batch_norm(*graph.find(pair.layer)->module, *norm->batch_norm());
    done.insert(norm);
  }
  model = rewrite(std::move(model), [&](const std::string&, ModulePtr module) -> ModulePtr {
    if (done.contains(module.get())) return std::make_unique<Identity>();
    return module;
  });
  return pairs;
}

ModulePtr as_convolution(const BatchNorm& norm) {
  const int64_t channels = norm.config().features;
  Conv2dConfig config = square_conv(channels, channels, 1);
  config.options.groups = channels;
  auto layer = std::make_unique<Conv2d>(config);
  layer->weight.set_raw(Tensor::full({1, 1, 1, channels}, 1));
  layer->bias.set_raw(Tensor::zeros({channels}));
  fold_batch_norm(*layer, norm);
  return layer;
}

void batch_norms_to_convolutions(ModulePtr& model) {
  model = rewrite(std::move(model), [](const std::string&, ModulePtr module) -> ModulePtr {
    const BatchNorm* norm = module->batch_norm();
    return norm && norm->of_images() ? as_convolution(*norm) : std::move(module);
  });
}

}  // namespace qgrad
