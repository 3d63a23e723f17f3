// Batch normalisation: which statistics to use, and the running ones.
#include "nn/norm.h"

namespace qgrad {
namespace {

// (1 - momentum) * running + momentum * factor * batch, in double like PyTorch on the CPU.
Tensor moved(const Tensor& running, const Tensor& batch, double momentum, double factor) {
  Tensor updated = Tensor::empty(running.shape());
  const std::span<float> out = updated.mutable_data();
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>((1 - momentum) * running.data()[i] + momentum * factor * batch.data()[i]);
  return updated;
}

Tensor constant_if(bool present, int64_t features, float value) {
  return present ? Tensor::full({features}, value) : Tensor();
}

}  // namespace

BatchNorm::BatchNorm(const BatchNormConfig& config)
    : config_(config),
      weight(parameter("weight", constant_if(config.affine, config.features, 1))),
      bias(parameter("bias", constant_if(config.affine, config.features, 0))),
      running_mean(buffer("running_mean", Tensor::zeros({config.features}))),
      running_var(buffer("running_var", Tensor::full({config.features}, 1))) {
  check(config.features > 0, "batch norm: features must be positive, got {}", config.features);
}

std::string BatchNorm::describe() const {
  return fmt::format("{}, eps={}, momentum={}{}", config_.features, config_.eps, config_.momentum,
                     config_.affine ? "" : ", affine=false");
}

Tensor BatchNorm::forward(const Tensor& x) {
  if (!training() || frozen_) return batch_norm_eval(x, weight(), bias(), running_mean(), running_var(), config_.eps);
  auto [y, statistics] = batch_norm_train(x, weight(), bias(), config_.eps);
  check(statistics.count > 1, "{}: training needs more than one value per channel, input is {}", kind(), x.shape());
  const auto count = static_cast<double>(statistics.count);
  running_mean.set(moved(running_mean(), statistics.mean, config_.momentum, 1));
  running_var.set(moved(running_var(), statistics.variance, config_.momentum, count / (count - 1)));
  return y;
}

}  // namespace qgrad
