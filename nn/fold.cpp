// Batch-norm folding.
#include "nn/fold.h"

#include <cmath>
#include <set>

#include "nn/activation.h"
#include "nn/conv.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace qgrad {
namespace {

// In the order of Distiller's operations (sim_bn_fold.py, freeze), so that folded weights are the same to the last bit:
//   r = 1 / sqrt(var + eps);  w *= gamma * r;  b = beta - (gamma * (mean - b)) * r
// The output channel is the last dimension of convolution and linear weights alike.
void fold(Parameter& weight, Parameter& bias, const BatchNorm& norm) {
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

}  // namespace

std::vector<FoldedBatchNorm> fold_batch_norms(ModulePtr& model, const Graph& graph) {
  std::vector<FoldedBatchNorm> folded;
  std::set<const Module*> done;
  const auto fold_chain = [&](const GraphNode& layer, const GraphNode& norm, auto& weight, auto& bias) {
    fold(weight, bias, dynamic_cast<const BatchNorm&>(*norm.module));
    folded.push_back({layer.name, norm.name});
    done.insert(norm.module);
  };
  for (const auto& [conv, norm] : graph.chains("Conv2d", "BatchNorm2d")) {
    auto& layer = dynamic_cast<Conv2d&>(*conv->module);
    fold_chain(*conv, *norm, layer.weight, layer.bias);
  }
  for (const auto& [linear, norm] : graph.chains("Linear", "BatchNorm1d")) {
    auto& layer = dynamic_cast<Linear&>(*linear->module);
    fold_chain(*linear, *norm, layer.weight, layer.bias);
  }
  model = rewrite(std::move(model), [&](const std::string&, ModulePtr module) -> ModulePtr {
    if (done.contains(module.get())) return std::make_unique<Identity>();
    return module;
  });
  return folded;
}

}  // namespace qgrad
