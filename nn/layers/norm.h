// Normalisations: of batches over all dimensions but the last, of layers, of groups of channels.
#pragma once

#include <optional>
#include <vector>

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

struct BatchNormConfig {
  int64_t features = 0;
  float eps = 1e-5f;
  std::optional<float> momentum = 0.1f;  // null: running statistics are the mean of all batches'
  bool affine = true;
};
void fields(Fields& v, BatchNormConfig& c);
void complete(BatchNormConfig& config, const LayerClass::InputShape& input);

// Training: the batch's statistics, and running = (1 - momentum) * running + momentum * batch (variance unbiased, as in
// PyTorch). Evaluation: the running statistics. BatchNorm1d and BatchNorm2d differ in name only.
class BatchNorm : public UnaryModule {
 public:
  explicit BatchNorm(const BatchNormConfig& config);
  std::string describe() const override;
  BatchNorm* batch_norm() final { return this; }
  virtual bool of_images() const = 0;
  const BatchNormConfig& config() const { return config_; }
  // Frozen, it uses the running statistics in training too, and leaves them alone. Not saved.
  void set_frozen(bool frozen) { frozen_ = frozen; }
  bool frozen() const { return frozen_; }
  // Counts a training batch, and says how far the running statistics move to its own: by the momentum, or 1 / batches.
  double next_momentum();

 private:
  BatchNormConfig config_;
  bool frozen_ = false;

 public:
  Parameter weight, bias;                     // [features], absent when not affine
  Buffer running_mean, running_var;           // [features]
  std::optional<Buffer> num_batches_tracked;  // [1], where there is no momentum

 protected:
  Tensor forward(const Tensor& x) override;
};

struct LayerNormConfig {
  std::vector<int64_t> shape;  // of the last dimensions
  float eps = 1e-5f;
  bool affine = true;
};
void fields(Fields& v, LayerNormConfig& c);
class LayerNorm final : public UnaryModule {
 public:
  explicit LayerNorm(const LayerNormConfig& config);
  std::string_view kind() const override { return "LayerNorm"; }
  std::string describe() const override;
  const Shape& shape() const { return shape_; }
  float eps() const { return eps_; }

 private:
  Shape shape_;
  float eps_;

 public:
  Parameter weight, bias;  // [shape], absent when not affine

 protected:
  Tensor forward(const Tensor& x) override { return layer_norm(x, shape_, weight(), bias(), eps_); }
};

struct GroupNormConfig {
  int64_t groups = 1, features = 0;
  float eps = 1e-5f;
  bool affine = true;
};
void fields(Fields& v, GroupNormConfig& c);
void complete(GroupNormConfig& config, const LayerClass::InputShape& input);
class GroupNorm final : public UnaryModule {  // [N,..,C]; as many groups as features: an instance norm
 public:
  explicit GroupNorm(const GroupNormConfig& config);
  std::string_view kind() const override { return "GroupNorm"; }
  std::string describe() const override;

 private:
  GroupNormConfig config_;

 public:
  Parameter weight, bias;  // [features], absent when not affine

 protected:
  Tensor forward(const Tensor& x) override;
};

struct BatchNorm1d final : BatchNorm {
  using BatchNorm::BatchNorm;
  std::string_view kind() const override { return "BatchNorm1d"; }
  bool of_images() const override { return false; }
};
struct BatchNorm2d final : BatchNorm {
  using BatchNorm::BatchNorm;
  explicit BatchNorm2d(int64_t features) : BatchNorm({.features = features}) {}
  std::string_view kind() const override { return "BatchNorm2d"; }
  bool of_images() const override { return true; }
};

}  // namespace qgrad
