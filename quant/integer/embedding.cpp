// The integer table and its lookup.
#include "quant/integer/embedding.h"

#include "core/config.h"
#include "core/error.h"
#include "nn/embedding.h"
#include "quant/integer/wrapper.h"

namespace qgrad {

RangeLinearEmbeddingWrapper::RangeLinearEmbeddingWrapper(ModulePtr embedding, const QuantSettings& settings,
                                                         const TensorStats* output_stats)
    : settings_(settings),
      embedding_(*this, "", std::move(embedding)),
      weight_scale_(buffer("w_scale", Tensor())),
      weight_zero_point_(buffer("w_zero_point", Tensor())) {
  auto* table = embedding_.as<Embedding>();
  check(table != nullptr, "RangeLinearEmbeddingWrapper: expected an Embedding, got {}", embedding_->kind());
  ScaleAndZeroPoint params;
  if (output_stats) {
    params = params_from_stats(*output_stats, settings);
  } else {
    const LinearQuantParams of_table = params_from_tensor(table->weight.raw(), settings, Slices::output_channels);
    params = {of_table.scale[0], of_table.zero_point[0]};
  }
  weight_scale_.set(Tensor::scalar(params.scale));
  weight_zero_point_.set(Tensor::scalar(params.zero_point));
  table->weight.set_raw(linear_quantize_clamp(table->weight.raw(), {{params.scale}, {params.zero_point}},
                                              quantized_range(settings.bits, settings.mode)));
}

std::string RangeLinearEmbeddingWrapper::describe() const {
  return fmt::format("weights {} bits {}", settings_.bits, enum_name(settings_.mode));
}

QuantMetadata RangeLinearEmbeddingWrapper::weight_metadata() const {
  return metadata_of({weight_scale_.item(), weight_zero_point_.item()}, settings_);
}

const Tensor& RangeLinearEmbeddingWrapper::weight_q() const { return embedding_.as<Embedding>()->weight.raw(); }

Tensor RangeLinearEmbeddingWrapper::forward(const Tensor& ids) {
  check(!training(), "{}: a layer quantized after training can not be trained; switch the model to evaluation", kind());
  const QuantMetadata weight = weight_metadata();
  Tensor y = linear_dequantize(embedding_(ids), {{weight.scale}, {weight.zero_point}});
  y.set_quant_metadata(weight);
  return y;
}

Json RangeLinearEmbeddingWrapper::quant_params() const {
  const QuantMetadata weight = weight_metadata();
  return {{"class", kind()},
          {"layer", embedding_->kind()},
          {"weight",
           {{"bits", settings_.bits},
            {"mode", enum_name(settings_.mode)},
            {"scale", weight.scale},
            {"zero_point", weight.zero_point}}}};
}

}  // namespace qgrad
