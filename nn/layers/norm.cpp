// Batch normalisation: which statistics to use, and the running ones.
#include "nn/layers/norm.h"

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

Tensor constant_if(bool present, const Shape& shape, float value) {
  return present ? Tensor::full(shape, value) : Tensor();
}

const RegisteredLayer<BatchNorm1d, BatchNormConfig> batch_norm_1d_class{"BatchNorm1d"};
const RegisteredLayer<BatchNorm2d, BatchNormConfig> batch_norm_2d_class{"BatchNorm2d"};
const RegisteredLayer<LayerNorm, LayerNormConfig> layer_norm_class{"LayerNorm"};
const RegisteredLayer<GroupNorm, GroupNormConfig> group_norm_class{"GroupNorm"};

constexpr Field kEps{.help = "added to the variance", .min = 0};
constexpr Field kAffine{.help = "whether a factor and a bias are learned"};

}  // namespace

void fields(Fields& v, BatchNormConfig& c) {
  v("features", c.features, {.help = "channels of the input; 0: as many as it has", .min = 0});
  v("eps", c.eps, kEps);
  v("momentum", c.momentum,
    {.help = "share of a batch in the running statistics; null: the mean of all batches", .min = 0, .max = 1});
  v("affine", c.affine, kAffine);
}

void complete(BatchNormConfig& config, const LayerClass::InputShape& input) { complete_size(config.features, input); }

BatchNorm::BatchNorm(const BatchNormConfig& config)
    : config_(config),
      weight(parameter("weight", constant_if(config.affine, {config.features}, 1))),
      bias(parameter("bias", constant_if(config.affine, {config.features}, 0))),
      running_mean(buffer("running_mean", Tensor::zeros({config.features}))),
      running_var(buffer("running_var", Tensor::full({config.features}, 1))) {
  running_var.set_limits({.low = 0});
  check(config.features > 0, "batch norm: features must be positive, got {}", config.features);
  if (!config.momentum) num_batches_tracked.emplace(*this, "num_batches_tracked", Tensor::zeros({1}));
}

std::string BatchNorm::describe() const {
  const std::string momentum = config_.momentum ? fmt::format("{}", *config_.momentum) : "cumulative";
  return fmt::format("{}, eps={}, momentum={}{}", config_.features, config_.eps, momentum,
                     config_.affine ? "" : ", affine=false");
}

Tensor BatchNorm::forward(const Tensor& x) {
  if (!training() || frozen_) return batch_norm_eval(x, weight(), bias(), running_mean(), running_var(), config_.eps);
  auto [y, statistics] = batch_norm_train(x, weight(), bias(), config_.eps);
  check(statistics.count > 1, "{}: training needs more than one value per channel, input is {}", kind(), x.shape());
  const double momentum = next_momentum();
  const auto count = static_cast<double>(statistics.count);
  running_mean.set(moved(running_mean(), statistics.mean, momentum, 1));
  running_var.set(moved(running_var(), statistics.variance, momentum, count / (count - 1)));
  return y;
}

double BatchNorm::next_momentum() {
  if (config_.momentum) return *config_.momentum;
  num_batches_tracked->set(Tensor::full({1}, num_batches_tracked->item() + 1));
  return 1.0 / num_batches_tracked->item();
}

void fields(Fields& v, LayerNormConfig& c) {
  v("shape", c.shape, {.help = "of the last dimensions, which are normalised", .min = 1, .required = true});
  v("eps", c.eps, kEps);
  v("affine", c.affine, kAffine);
}

LayerNorm::LayerNorm(const LayerNormConfig& config)
    : shape_(std::span<const int64_t>(config.shape)),
      eps_(config.eps),
      weight(parameter("weight", constant_if(config.affine, shape_, 1))),
      bias(parameter("bias", constant_if(config.affine, shape_, 0))) {}

std::string LayerNorm::describe() const {
  return fmt::format("{}, eps={}{}", shape_, eps_, weight.defined() ? "" : ", affine=false");
}

void fields(Fields& v, GroupNormConfig& c) {
  v("groups", c.groups, {.help = "groups of channels, each normalised by itself", .min = 1, .required = true});
  v("features", c.features, {.help = "channels of the input; 0: as many as it has", .min = 0});
  v("eps", c.eps, kEps);
  v("affine", c.affine, kAffine);
}

void complete(GroupNormConfig& config, const LayerClass::InputShape& input) { complete_size(config.features, input); }

GroupNorm::GroupNorm(const GroupNormConfig& config)
    : config_(config),
      weight(parameter("weight", constant_if(config.affine, {config.features}, 1))),
      bias(parameter("bias", constant_if(config.affine, {config.features}, 0))) {
  check(config.groups > 0 && config.features > 0 && config.features % config.groups == 0,
        "GroupNorm: {} channels do not divide into {} groups", config.features, config.groups);
}

std::string GroupNorm::describe() const {
  return fmt::format("groups={}, {}, eps={}{}", config_.groups, config_.features, config_.eps,
                     config_.affine ? "" : ", affine=false");
}

Tensor GroupNorm::forward(const Tensor& x) {
  check(x.rank() >= 2 && x.dim(-1) == config_.features, "GroupNorm: expected [N,..,{}], got {}", config_.features,
        x.shape());
  return group_norm(x, config_.groups, weight(), bias(), config_.eps);
}

}  // namespace qgrad
