// Activation functions and other layers without parameters.
#pragma once

#include <optional>

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

struct ReLU final : UnaryModule {
  std::string_view kind() const override { return "ReLU"; }
  Effect effect() const override { return Effect::clamping({.low = 0}); }

 protected:
  Tensor forward(const Tensor& x) override { return relu(x); }
};
struct ReLU6 final : UnaryModule {
  std::string_view kind() const override { return "ReLU6"; }
  Effect effect() const override { return Effect::clamping({0, 6}); }

 protected:
  Tensor forward(const Tensor& x) override { return relu6(x); }
};
struct Sigmoid final : UnaryModule {
  std::string_view kind() const override { return "Sigmoid"; }
  Effect effect() const override { return {.kind = Effect::Kind::applies, .gives = {0, 1}, .tells_apart = {-6, 6}}; }

 protected:
  Tensor forward(const Tensor& x) override { return sigmoid(x); }
};
struct Tanh final : UnaryModule {
  std::string_view kind() const override { return "Tanh"; }
  Effect effect() const override { return {.kind = Effect::Kind::applies, .gives = {-1, 1}, .tells_apart = {-4, 4}}; }

 protected:
  Tensor forward(const Tensor& x) override { return tanh(x); }
};
struct ClampConfig {
  std::optional<float> low, high;  // null: no bound
};
void fields(Fields& v, ClampConfig& c);
class Clamp final : public UnaryModule {  // to low .. high
 public:
  explicit Clamp(const ClampConfig& config);
  Clamp(float low, float high) : Clamp(ClampConfig{low, high}) {}
  std::string_view kind() const override { return "Clamp"; }
  Effect effect() const override { return Effect::clamping({low_, high_}); }
  std::string describe() const override { return fmt::format("{} to {}", low_, high_); }

 protected:
  Tensor forward(const Tensor& x) override { return clamp(x, low_, high_); }

 private:
  float low_, high_;
};
struct SoftmaxConfig {
  int dim = -1;
};
void fields(Fields& v, SoftmaxConfig& c);
class Softmax final : public UnaryModule {
 public:
  explicit Softmax(const SoftmaxConfig& config = {}) : dim_(config.dim) {}
  std::string_view kind() const override { return "Softmax"; }
  std::string describe() const override { return fmt::format("dim={}", dim_); }
  int dim() const { return dim_; }

 protected:
  Tensor forward(const Tensor& x) override { return softmax(x, dim_); }

 private:
  int dim_;
};
class LogSoftmax final : public UnaryModule {
 public:
  explicit LogSoftmax(const SoftmaxConfig& config = {}) : dim_(config.dim) {}
  std::string_view kind() const override { return "LogSoftmax"; }
  std::string describe() const override { return fmt::format("dim={}", dim_); }

 protected:
  Tensor forward(const Tensor& x) override { return log_softmax(x, dim_); }

 private:
  int dim_;
};

// Hands its input on; what a folded batch norm or a fused ReLU becomes. It records nothing, so a traced graph does not
// show it.
struct Identity final : UnaryModule {
  std::string_view kind() const override { return "Identity"; }
  Effect effect() const override { return {.kind = Effect::Kind::none}; }

 protected:
  Tensor forward(const Tensor& x) override { return x; }
};

// To [N, rest], images channel first (see ops.h).
struct Flatten final : UnaryModule {
  std::string_view kind() const override { return "Flatten"; }
  Effect effect() const override { return {.kind = Effect::Kind::moves}; }

 protected:
  Tensor forward(const Tensor& x) override { return flatten(x); }
};

}  // namespace qgrad
