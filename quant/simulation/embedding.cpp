// The integer table and its lookup.
#include "quant/simulation/embedding.h"

#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"
#include "nn/layers/embedding.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {
namespace {

Parameter& table_of(const Child& embedding) {
  auto* table = embedding.as<Embedding>();
  check(table != nullptr, "expected an Embedding, got {}", embedding->kind());
  return table->weight;
}

ChannelGrid table_grid(const Tensor& table, const QuantSettings& settings, const TensorStats* output_stats) {
  check(settings.mode != LinearQuantMode::symmetric_midrise,
        "rows of tables are activations of what reads them, which need a level at zero; SYMMETRIC_MIDRISE has none");
  if (!output_stats) return grid_from_tensor(table, settings, Slices::samples);
  return grid_from_stats(*output_stats, settings);
}

}  // namespace

RangeLinearEmbeddingWrapper::RangeLinearEmbeddingWrapper(ModulePtr embedding, const WeightQuantization& quantization,
                                                         const TensorStats* output_stats)
    : embedding_(*this, "", std::move(embedding)),
      weight_(*this, table_of(embedding_), quantization,
              table_grid(table_of(embedding_).raw(), quantization.settings, output_stats)) {}

std::string RangeLinearEmbeddingWrapper::describe() const {
  return fmt::format("weights {} bits {}", weight_.settings().bits, enum_name(weight_.settings().mode));
}

Grid RangeLinearEmbeddingWrapper::weight_grid() const { return weight_.grid().channel(0); }

Tensor RangeLinearEmbeddingWrapper::forward(Inputs ids) {
  check(!training(), "{}: a layer quantized after training can not be trained; switch the model to evaluation",
        embedding_->kind());
  Tensor y = linear_dequantize(embedding_->call(ids), weight_.grid());
  y.set_grid(weight_grid());
  return y;
}

Json RangeLinearEmbeddingWrapper::quant_params() const {
  return {{"class", kind()}, {"layer", embedding_->kind()}, {"weight", weight_.quant_params()}};
}

}  // namespace qgrad
