// The base of layers that compute weighted sums: folding, equalization, quantizers and export ask it, and no layer by
// its class.
#pragma once

#include "core/ops.h"
#include "nn/module.h"

namespace qgrad {

class WeightedSum : public UnaryModule {
 public:
  Effect effect() const final { return {.kind = Effect::Kind::sums}; }
  WeightedSum* weighted_sum() final { return this; }
  void initialize(const Initializer& draw) override;
  const Conv2dOptions& options() const { return options_; }  // of a convolution
  // What it computes with these in the place of its own; an undefined bias is none.
  Tensor sums(const Tensor& x, const Tensor& weight, const Tensor& bias) const;

 private:
  Conv2dOptions options_;

 public:
  Parameter weight, bias;  // [kh, kw, in/groups, out] of a convolution, else [in, out]; [out] or absent

 protected:
  WeightedSum(Tensor weight, bool with_bias, const Conv2dOptions& options = {});
  std::string bias_described() const { return bias.defined() ? "" : ", bias=false"; }
  Tensor forward(const Tensor& x) final { return sums(x, weight(), bias()); }
};

}  // namespace qgrad
