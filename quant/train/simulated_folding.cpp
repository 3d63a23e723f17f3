// The two forward passes, and the exchange of modules.
#include "quant/train/simulated_folding.h"

#include <algorithm>
#include <map>

#include "core/batch_sum.h"
#include "core/ops.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/layers/weighted_sum.h"

namespace qgrad {
namespace {

Tensor ones_like(const Tensor& x) { return Tensor::full(x.shape(), 1); }
Tensor value_or(const Parameter& parameter, const Tensor& otherwise) {
  return parameter.defined() ? parameter() : otherwise;
}
// A folded value, quantized as the parameter that it belongs to is.
Tensor quantized(const Parameter& parameter, const Tensor& value) {
  return parameter.transform() ? (*parameter.transform())(value) : value;
}
Tensor sigma(const Tensor& variance, float eps) { return sqrt(add_scalar(variance, eps)); }

}  // namespace

SimulatedFoldedBatchNorm::SimulatedFoldedBatchNorm(ModulePtr of_layer, ModulePtr of_norm)
    : layer(child("", std::move(of_layer))), batch_norm(child("bn", std::move(of_norm))) {
  check(belong_together(*layer, *batch_norm),
        "SimulatedFoldedBatchNorm: expected Conv2d with BatchNorm2d or Linear with BatchNorm1d, got {} with {}",
        layer->kind(), batch_norm->kind());
  const int64_t outputs = layer->weighted_sum()->weight.raw().dim(-1);
  check(norm().config().features == outputs,
        "SimulatedFoldedBatchNorm: the batch norm has {} features, the layer {} outputs", norm().config().features,
        outputs);
}

ModulePtr SimulatedFoldedBatchNorm::take_folded() {
  fold_batch_norm(*layer, norm());
  return layer.take();
}

// In float32 and in Distiller's order (BatchNorm's is PyTorch's, in double): the last bit of the largest weight decides
// the side of a tie.
void SimulatedFoldedBatchNorm::follow(const Tensor& mean, const Tensor& variance, int64_t count) {
  const Tape::Paused paused;
  const double momentum = norm().next_momentum(), rows = static_cast<double>(count);
  const auto move = [&](Buffer& running, const Tensor& batch) {
    running.set(
        add(mul_scalar(running(), static_cast<float>(1 - momentum)), mul_scalar(batch, static_cast<float>(momentum))));
  };
  move(norm().running_mean, mean);
  move(norm().running_var, mul_scalar(variance, static_cast<float>(rows / (rows - 1))));
}

// Products and quotients in Distiller's order; evaluation in that of fold_batch_norm, which is the same.
Tensor SimulatedFoldedBatchNorm::forward(const Tensor& x) {
  const WeightedSum& sum = *layer->weighted_sum();
  const Parameter &weight = sum.weight, &bias = sum.bias;
  const float eps = norm().config().eps;
  const Tensor ones = ones_like(norm().running_var());
  const Tensor gamma = value_or(norm().weight, ones), beta = value_or(norm().bias, mul_scalar(ones, 0));

  if (!training() || norm().frozen()) {
    const Tensor reciprocal = div(ones, sigma(norm().running_var(), eps));
    const Tensor& running_mean = norm().running_mean();
    const Tensor mean = bias.defined() ? sub(running_mean, bias.raw()) : running_mean;
    return sum.sums(x, quantized(weight, mul(weight.raw(), mul(gamma, reciprocal))),
                    quantized(bias, sub(beta, mul(mul(gamma, mean), reciprocal))));
  }

  const Tensor unscaled = sum.sums(x, weight.raw(), {});
  const int64_t channels = unscaled.dim(-1), mine = unscaled.numel() / channels,
                count = all_rows(mine, unscaled.is_part());
  check(count > 1, "SimulatedFoldedBatchNorm: training needs more than one value per channel, the layer gives {}",
        unscaled.shape());
  const Tensor rows = reshape(unscaled, {mine, channels});
  const Tensor mean = qgrad::mean(rows, 0, false), variance = qgrad::mean(square(sub(rows, mean)), 0, false);
  follow(bias.defined() ? add(mean, bias.raw()) : mean, variance, count);
  const Tensor running = sigma(norm().running_var(), eps), reciprocal = div(ones, sigma(variance, eps));
  const Tensor folded_weight = quantized(weight, mul(weight.raw(), div(gamma, running)));
  const Tensor folded_bias = quantized(bias, sub(beta, mul(mul(gamma, mean), reciprocal)));
  return add(mul(sum.sums(x, folded_weight, {}), mul(running, reciprocal)), folded_bias);
}

void simulate_folded_batch_norms(ModulePtr& model, std::span<const FoldedBatchNorm> pairs) {
  std::map<std::string, ModulePtr> norms;  // by the path of the layer
  model = rewrite(std::move(model), [&](const std::string& path, ModulePtr module) -> ModulePtr {
    const auto pair = std::ranges::find(pairs, path, &FoldedBatchNorm::batch_norm);
    if (pair == pairs.end() || !module->batch_norm()) return module;
    norms[pair->layer] = std::move(module);
    return std::make_unique<Identity>();
  });
  model = rewrite(std::move(model), [&](const std::string& path, ModulePtr module) -> ModulePtr {
    const auto norm = norms.find(path);
    if (norm == norms.end() || !norm->second) return module;
    return std::make_unique<SimulatedFoldedBatchNorm>(std::move(module), std::move(norm->second));
  });
}

void fold_simulated_batch_norms(ModulePtr& model) {
  model = rewrite(std::move(model), [](const std::string&, ModulePtr module) -> ModulePtr {
    auto* simulated = dynamic_cast<SimulatedFoldedBatchNorm*>(module.get());
    return simulated ? simulated->take_folded() : std::move(module);
  });
}

}  // namespace qgrad
