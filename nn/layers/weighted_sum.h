// The base of layers that compute weighted sums: folding, equalization, quantizers and export ask it, and no layer by
// its class.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "core/ops.h"
#include "nn/module.h"

namespace qgrad {

// The weight that a convolution of some kind begins with, for its config. Throws where channels do not divide into
// groups.
template <class Config>
Tensor convolution_weight(std::string_view kind, const Config& c) {
  check(c.in > 0 && c.out > 0 && c.kernel_h > 0 && c.kernel_w > 0,
        "{}: channels and kernel must be positive, got {} -> {}, kernel {}x{}", kind, c.in, c.out, c.kernel_h,
        c.kernel_w);
  const int64_t groups = c.options.groups;
  check(groups > 0 && c.in % groups == 0 && c.out % groups == 0, "{}: {} -> {} channels do not divide into {} groups",
        kind, c.in, c.out, groups);
  return Tensor::zeros({c.kernel_h, c.kernel_w, c.in / groups, c.out});
}

class WeightedSum : public UnaryModule {
 public:
  Effect effect() const final { return {.kind = Effect::Kind::sums}; }
  WeightedSum* weighted_sum() final { return this; }
  void initialize(const Initializer& draw) override;
  const Conv2dOptions& options() const { return options_; }  // of a convolution
  // Whether its sums are those of a transposed convolution.
  virtual bool is_transposed() const { return false; }
  // What it computes with these in the place of its own; an undefined bias is none.
  virtual Tensor sums(const Tensor& x, const Tensor& weight, const Tensor& bias) const;

 private:
  Conv2dOptions options_;

 public:
  Parameter weight, bias;  // [kh, kw, in/groups, out] of a convolution, else [in, out]; [out] or absent

 protected:
  // Of four dimensions, the weight is a convolution's, else a matrix; in files too, unless a layout says otherwise.
  WeightedSum(Tensor weight, bool with_bias, const Conv2dOptions& options = {});
  WeightedSum(Tensor weight, bool with_bias, const Conv2dOptions& options, const Layout& layout);
  std::string bias_described() const { return bias.defined() ? "" : ", bias=false"; }
  Tensor forward(const Tensor& x) final { return sums(x, weight(), bias()); }
};

}  // namespace qgrad
