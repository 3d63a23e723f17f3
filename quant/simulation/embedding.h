// Table lookup with an integer table (Distiller range_linear.py:RangeLinearEmbeddingWrapper).
#pragma once

#include "quant/ranges/stats.h"
#include "quant/simulation/weight.h"

namespace qgrad {

// Wraps an Embedding. Its table becomes integers, quantized by the statistics of its output where given, else by the
// table's own range. The output is dequantized and carries the table's quantization.
class RangeLinearEmbeddingWrapper final : public PostTrainLayer {
 public:
  RangeLinearEmbeddingWrapper(ModulePtr embedding, const WeightQuantization& quantization,
                              const TensorStats* output_stats);
  std::string_view kind() const override { return "RangeLinearEmbeddingWrapper"; }
  std::string describe() const override;
  Json quant_params() const override;
  std::vector<QuantParamSlot> quant_param_slots() override { return {weight_.slot()}; }

  const IntegerWeight& weight() const { return weight_; }
  Grid weight_grid() const;

 protected:
  Tensor forward(Inputs ids) override;

 private:
  Child embedding_;
  IntegerWeight weight_;
};

}  // namespace qgrad
