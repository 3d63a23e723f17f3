// Table lookup with an integer table (Distiller range_linear.py:RangeLinearEmbeddingWrapper).
#pragma once

#include <optional>

#include "core/json.h"
#include "nn/module.h"
#include "quant/clip.h"
#include "quant/stats.h"

namespace qgrad {

// Wraps an Embedding. Its table becomes integers, quantized by the statistics of its output where given, else by the
// table's own range. The output is dequantized and carries the table's quantization.
class RangeLinearEmbeddingWrapper final : public UnaryModule {
 public:
  RangeLinearEmbeddingWrapper(ModulePtr embedding, const QuantSettings& settings, const TensorStats* output_stats);
  std::string_view kind() const override { return "RangeLinearEmbeddingWrapper"; }
  std::string describe() const override;
  Json quant_params() const;

  QuantMetadata weight_metadata() const;
  const Tensor& weight_q() const;

 protected:
  Tensor forward(const Tensor& ids) override;

 private:
  QuantSettings settings_;
  Child embedding_;
  Buffer weight_scale_, weight_zero_point_;  // scalars
};

}  // namespace qgrad
