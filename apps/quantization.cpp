// Calibrating, preparing, and what the result weighs.
#include "apps/quantization.h"

#include <fmt/format.h>

#include <map>

#include "apps/progress.h"
#include "nn/checkpoint.h"
#include "nn/fold.h"
#include "quant/post_train_linear.h"

namespace qgrad {
namespace {

// The same model again, in evaluation mode and with its batch norms folded.
ModulePtr folded_twin(Module& model, const Config& architecture, const Tensor& example) {
  ModulePtr twin = Registry<Architecture>::create(architecture)->make();
  load_state(*twin, {.tensors = model_state(model)});
  twin->set_training(false);
  fold_batch_norms(twin, Graph::trace(*twin, example));
  twin->set_training(false);
  return twin;
}

std::vector<Tensor> calibration_images(const ExperimentData& data, const CalibrationConfig& config) {
  Loader loader = data.calibration(config);
  loader.start_epoch(0);
  std::vector<Tensor> batches;
  while (const auto batch = loader.next()) batches.push_back(batch->images);
  return batches;
}

}  // namespace

bool is_post_training(const Config& quantizer) {
  return dynamic_cast<PostTrainLinearQuantizer*>(Registry<Quantizer>::create(quantizer).get()) != nullptr;
}

QuantStats calibration_stats(Module& model, const ExperimentData& data, const CalibrationConfig& config,
                             const std::string& label) {
  Loader loader = data.calibration(config);
  Progress progress(label + "  calibration", 2 * loader.images());
  int64_t done = 0;
  QuantStats stats = collect_quant_stats(model, [&] {
    loader.start_epoch(0);
    while (const auto batch = loader.next()) {
      model(batch->images);
      done += batch->images.dim(0);
      progress.update(done, "");
    }
  });
  return stats;
}

Quantized quantize_model(ModulePtr& model, const Config& architecture, const Config& quantizer, Optimizer* optimizer,
                         const ExperimentData& data, const std::optional<CalibrationConfig>& calibration,
                         const std::string& label) {
  Config config = quantizer;
  Quantized result;
  if (is_post_training(config)) {
    result.reference = folded_twin(*model, architecture, data.example());
    result.images = calibration_images(data, calibration.value_or(CalibrationConfig{}));
  }
  const Json resolved = Registry<Quantizer>::resolve(config);
  if (calibration && resolved.contains("model_activation_stats") && resolved["model_activation_stats"].is_null())
    config.value["model_activation_stats"] =
        calibration->statistics ? Json(*calibration->statistics)
                                : stats_to_json(calibration_stats(*model, data, *calibration, label));
  result.quantizer = Registry<Quantizer>::create(config);
  result.config = {Registry<Quantizer>::resolve(config), config.file, config.path};
  result.config.value = result.quantizer->self_contained(std::move(result.config.value));
  result.quantizer->prepare(model, optimizer, data.example());
  if (result.reference) model->set_training(false);
  return result;
}

int64_t packed_bytes(Module& model, const Quantizer* quantizer) {
  std::map<std::string, Bits> bits;
  if (quantizer)
    for (const Quantizer::Resolved& layer : quantizer->resolved()) bits[layer.path] = layer.bits;
  int64_t total = 0;
  for (const Parameter* p : all_parameters(model)) {
    const Bits layer = bits[p->owner().path()];
    const int width = (p->name() == "bias" ? layer.bias : layer.weights).value_or(32);
    total += (p->raw().numel() * width + 7) / 8;
  }
  return total;
}

Json resolved_layers(const Quantizer& quantizer) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json layers = Json::array();
  for (const Quantizer::Resolved& layer : quantizer.resolved())
    layers.push_back({{"path", layer.path},
                      {"kind", layer.kind},
                      {"bits_weights", or_null(layer.bits.weights)},
                      {"bits_activations", or_null(layer.bits.activations)},
                      {"bits_bias", or_null(layer.bits.bias)},
                      {"settings", layer.settings},
                      {"pattern", or_null(layer.pattern)}});
  return layers;
}

}  // namespace qgrad
