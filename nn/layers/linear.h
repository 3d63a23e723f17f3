// Fully connected layer.
#pragma once

#include "core/ops.h"
#include "nn/module.h"

namespace qgrad {

class Linear final : public UnaryModule {
 public:
  Linear(int64_t in, int64_t out, bool with_bias = true);
  std::string_view kind() const override { return "Linear"; }
  std::string describe() const override;

  Parameter weight, bias;  // [in, out]; [out] or absent

 protected:
  Tensor forward(const Tensor& x) override { return linear(x, weight(), bias()); }
};

}  // namespace qgrad
