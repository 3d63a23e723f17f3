// Reductions of dimensions of our layout.
#pragma once

#include <vector>

#include "core/ops.h"
#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

struct ReduceConfig {
  std::vector<int> dims;  // none: all of them
  bool keep_dims = true;
};
void fields(Fields& v, ReduceConfig& c);

class Reduce : public UnaryModule {
 public:
  std::string_view kind() const final { return kind_; }
  Effect effect() const final { return {.kind = effect_}; }
  std::string describe() const final;

 protected:
  using Function = Tensor (*)(const Tensor& x, std::span<const int> dims, bool keep_dims);
  Reduce(const char* kind, Function function, Effect::Kind effect, const ReduceConfig& config)
      : kind_(kind), function_(function), effect_(effect), config_(config) {}
  Tensor forward(const Tensor& x) final { return function_(x, config_.dims, config_.keep_dims); }

 private:
  const char* kind_;
  Function function_;
  Effect::Kind effect_;
  ReduceConfig config_;
};

struct ReduceMean final : Reduce {
  explicit ReduceMean(const ReduceConfig& config) : Reduce("ReduceMean", mean, Effect::Kind::averages, config) {}
};
struct ReduceSum final : Reduce {
  explicit ReduceSum(const ReduceConfig& config) : Reduce("ReduceSum", sum, Effect::Kind::mixes, config) {}
};
struct ReduceMax final : Reduce {
  explicit ReduceMax(const ReduceConfig& config) : Reduce("ReduceMax", max, Effect::Kind::picks, config) {}
};
struct ReduceMin final : Reduce {
  explicit ReduceMin(const ReduceConfig& config) : Reduce("ReduceMin", min, Effect::Kind::picks, config) {}
};

}  // namespace qgrad
