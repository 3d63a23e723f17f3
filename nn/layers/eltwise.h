// Operations on several tensors as modules, so that quantizers can find and replace them (Distiller:
// modules/eltwise.py, modules/grouping.py, modules/matmul.py).
#pragma once

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

// Two or more inputs, combined from left to right.
struct EltwiseAdd final : Module {
  std::string_view kind() const override { return "EltwiseAdd"; }
  Effect effect() const override { return {.kind = Effect::Kind::adds}; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwiseMult final : Module {
  std::string_view kind() const override { return "EltwiseMult"; }
  Effect effect() const override { return {.kind = Effect::Kind::multiplies}; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwiseSub final : Module {
  std::string_view kind() const override { return "EltwiseSub"; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwiseDiv final : Module {
  std::string_view kind() const override { return "EltwiseDiv"; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwiseMax final : Module {
  std::string_view kind() const override { return "EltwiseMax"; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwiseMin final : Module {
  std::string_view kind() const override { return "EltwiseMin"; }

 protected:
  Tensor forward(Inputs x) override;
};
struct EltwisePow final : Module {  // two inputs
  std::string_view kind() const override { return "EltwisePow"; }

 protected:
  Tensor forward(Inputs x) override;
};
// Along a dimension of our layout: for images, channels are dimension 3.
struct ConcatConfig {
  int dim = -1;
};
void fields(Fields& v, ConcatConfig& c);
class Concat final : public Module {
 public:
  explicit Concat(const ConcatConfig& config = {}) : dim_(config.dim) {}
  explicit Concat(int dim) : dim_(dim) {}
  std::string_view kind() const override { return "Concat"; }
  Effect effect() const override { return {.kind = Effect::Kind::concatenates}; }
  std::string describe() const override { return fmt::format("dim={}", dim_); }
  int dim() const { return dim_; }

 protected:
  Tensor forward(Inputs x) override { return concat(x, dim_); }

 private:
  int dim_;
};
// One of the equal parts of a dimension of our layout, so that what follows each part is seen in the graph: a layer
// whose output is split is followed by one Split for each part.
struct SplitConfig {
  int dim = -1;
  int64_t parts = 2, index = 0;
};
void fields(Fields& v, SplitConfig& c);
class Split final : public UnaryModule {
 public:
  explicit Split(const SplitConfig& config);
  Split(int dim, int64_t parts, int64_t index) : Split(SplitConfig{dim, parts, index}) {}
  std::string_view kind() const override { return "Split"; }
  Effect effect() const override { return {.kind = Effect::Kind::splits}; }
  std::string describe() const override {
    return fmt::format("part {} of {}, dim={}", config_.index, config_.parts, config_.dim);
  }

 protected:
  Tensor forward(const Tensor& x) override;  // throws where the dimension has no such parts

 private:
  SplitConfig config_;
};
struct Matmul final : Module {  // two inputs
  std::string_view kind() const override { return "Matmul"; }
  Effect effect() const override { return {.kind = Effect::Kind::multiplies_matrices}; }

 protected:
  Tensor forward(Inputs x) override;
};
struct BatchMatmul final : Module {  // two inputs with equal leading dimensions
  std::string_view kind() const override { return "BatchMatmul"; }
  Effect effect() const override { return {.kind = Effect::Kind::multiplies_matrices}; }

 protected:
  Tensor forward(Inputs x) override;
};

}  // namespace qgrad
