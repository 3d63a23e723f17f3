// Table lookup.
#pragma once

#include "core/ops.h"
#include "nn/init.h"
#include "nn/module.h"

namespace qgrad {

class Embedding final : public UnaryModule {
 public:
  Embedding(int64_t rows, int64_t width);
  std::string_view kind() const override { return "Embedding"; }
  Effect effect() const override { return {.kind = Effect::Kind::looks_up}; }
  std::string describe() const override;
  void initialize(const Initializer& draw) override { draw.normal(weight, 1); }

  Parameter weight;  // [rows, width]

 protected:
  Tensor forward(const Tensor& ids) override { return embedding(ids, weight()); }
};

}  // namespace qgrad
