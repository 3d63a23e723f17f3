// Functions of each number, beyond those of activation.h.
#pragma once

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

// A function without settings.
class PlainFunction : public UnaryModule {
 public:
  std::string_view kind() const final { return kind_; }
  Effect effect() const final { return effect_; }

 protected:
  using Function = Tensor (*)(const Tensor&);
  PlainFunction(const char* kind, Function function, const Limits& gives = {}, const Limits& tells_apart = {})
      : kind_(kind),
        function_(function),
        effect_{.kind = Effect::Kind::applies, .gives = gives, .tells_apart = tells_apart} {}
  Tensor forward(const Tensor& x) final { return function_(x); }

 private:
  const char* kind_;
  Function function_;
  Effect effect_;
};

struct HardSwish final : PlainFunction {
  HardSwish() : PlainFunction("HardSwish", hard_swish, {.low = -0.375f}, {.low = -3}) {}
};
struct SiLU final : PlainFunction {
  SiLU() : PlainFunction("SiLU", silu, {.low = -0.278464556f}, {.low = -8}) {}
};
struct Softplus final : PlainFunction {
  Softplus() : PlainFunction("Softplus", softplus, {.low = 0}, {.low = -6}) {}
};
struct Erf final : PlainFunction {
  Erf() : PlainFunction("Erf", erf, {-1, 1}, {-2.5f, 2.5f}) {}
};
struct Exp final : PlainFunction {
  Exp() : PlainFunction("Exp", exp, {.low = 0}) {}
};
struct Log final : PlainFunction {
  Log() : PlainFunction("Log", log) {}
};
struct Sqrt final : PlainFunction {
  Sqrt() : PlainFunction("Sqrt", sqrt, {.low = 0}) {}
};
struct Neg final : PlainFunction {
  Neg() : PlainFunction("Neg", neg) {}
};
struct Abs final : PlainFunction {
  Abs() : PlainFunction("Abs", abs, {.low = 0}) {}
};

struct LeakyReLUConfig {
  float slope = 0.01f;  // below 0
};
void fields(Fields& v, LeakyReLUConfig& c);
class LeakyReLU final : public UnaryModule {
 public:
  explicit LeakyReLU(const LeakyReLUConfig& config = {}) : slope_(config.slope) {}
  std::string_view kind() const override { return "LeakyReLU"; }
  std::string describe() const override { return fmt::format("slope={}", slope_); }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override { return leaky_relu(x, slope_); }

 private:
  float slope_;
};

struct PReLUConfig {
  int64_t features = 0;  // slopes for the last dimension; 1: one for all
};
void fields(Fields& v, PReLUConfig& c);
void complete(PReLUConfig& config, const LayerClass::InputShape& input);
class PReLU final : public UnaryModule {
 public:
  explicit PReLU(const PReLUConfig& config);
  std::string_view kind() const override { return "PReLU"; }
  std::string describe() const override { return fmt::format("{}", weight.raw().numel()); }
  Effect effect() const override;

  Parameter weight;  // [features]: the slopes below 0

 protected:
  Tensor forward(const Tensor& x) override { return prelu(x, weight()); }
};

struct ELUConfig {
  float alpha = 1;
};
void fields(Fields& v, ELUConfig& c);
class ELU final : public UnaryModule {
 public:
  explicit ELU(const ELUConfig& config = {}) : alpha_(config.alpha) {}
  std::string_view kind() const override { return "ELU"; }
  std::string describe() const override { return fmt::format("alpha={}", alpha_); }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override { return elu(x, alpha_); }

 private:
  float alpha_;
};

struct HardSigmoidConfig {
  float alpha = 1.0f / 6, beta = 0.5f;
};
void fields(Fields& v, HardSigmoidConfig& c);
class HardSigmoid final : public UnaryModule {
 public:
  explicit HardSigmoid(const HardSigmoidConfig& config = {}) : config_(config) {}
  std::string_view kind() const override { return "HardSigmoid"; }
  std::string describe() const override { return fmt::format("alpha={}, beta={}", config_.alpha, config_.beta); }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override { return hard_sigmoid(x, config_.alpha, config_.beta); }

 private:
  HardSigmoidConfig config_;
};

struct GELUConfig {
  GeluApproximation approximate = GeluApproximation::none;
};
void fields(Fields& v, GELUConfig& c);
class GELU final : public UnaryModule {
 public:
  explicit GELU(const GELUConfig& config = {}) : approximate_(config.approximate) {}
  std::string_view kind() const override { return "GELU"; }
  std::string describe() const override;
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override { return gelu(x, approximate_); }

 private:
  GeluApproximation approximate_;
};

struct PowConfig {
  float exponent = 2;
};
void fields(Fields& v, PowConfig& c);
class Pow final : public UnaryModule {
 public:
  explicit Pow(const PowConfig& config = {}) : exponent_(config.exponent) {}
  std::string_view kind() const override { return "Pow"; }
  std::string describe() const override { return fmt::format("exponent={}", exponent_); }
  Effect effect() const override;

 protected:
  Tensor forward(const Tensor& x) override { return pow(x, exponent_); }

 private:
  float exponent_;
};

}  // namespace qgrad
