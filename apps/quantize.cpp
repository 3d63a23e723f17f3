// qgrad quantize CONFIG: post-training quantization: calibrate, prepare, evaluate, save.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "apps/command.h"
#include "quant/post_train/layer_report.h"
#include "quant/simulation/layer.h"
#include "tasks/deployment.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

constexpr size_t kLayersPrinted = 8;

struct QuantizeCommandConfig : ExperimentConfig {
  ClassConfig<Quantizer> quantizer;
  std::optional<CalibrationConfig> calibration = CalibrationConfig{};
};
void fields(Fields& v, QuantizeCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("calibration", c.calibration, {.help = "images or statistics that set the ranges; null: dynamic quantization"});
}

void run_quantize(const std::string& config_file, const CommonOptions& options) {
  const auto config = read_command_config<QuantizeCommandConfig>(config_file, options);
  if (!config.checkpoint)
    config_error(config_file, "'checkpoint' is missing: post-training quantization needs a trained model");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(), "this quantizer works by training; use `qgrad train`");
  OutputFolder folder(output_folder(options.out, config.name));
  folder.check_spares({*config.checkpoint, config.calibration ? config.calibration->statistics.value_or("") : ""},
                      {"model.safetensors", "quant_stats_after_prepare_model.json"});
  const auto task = open_task(config, options.data);
  const ExperimentData& data = images_of(*task);
  check_can_write(folder.path() / "results.json");
  check_calibration(data, config.calibration, config_file, "calibration");
  check_post_training(config, config.quantizer, data, config.calibration);
  ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  const Metrics before = evaluate_float(*model, data.test(), "float");
  const Quantized quantized =
      quantize_model(model, config.model, config.quantizer, nullptr, data, config.calibration, "calibration");
  const Metrics after = evaluate(*model, data.test(), "quantized");
  const std::vector<LayerError> layers = layer_report(*model, *quantized.reference, quantized.images);

  write_json(folder.to_write("config.json"), resolved_config(config, data));
  write_json(folder.to_write("layer_quant_params.json"), layer_quant_params(*model));
  if (const QuantStats* stats = quantized.quantizer->stats_after_prepare())
    write_stats(folder.to_write("quant_stats_after_prepare_model.json"), *stats);
  const std::filesystem::path checkpoint = folder.to_write("model.safetensors");
  save_model(checkpoint, *model, config, data, quantized.config, after.to_json());
  const int64_t bytes = packed_bytes(*model, quantized.quantizer.get());
  const Deployment program = deploy_checkpoint(checkpoint, data, "program");
  const Json results = {{"name", config.name},
                        {"seed", config.seed},
                        {"dataset", data.describe()},
                        {"model", config.model.json()},
                        {"quantizer", config_for_results(quantized.config)},
                        {"float", before.to_json()},
                        {"quantized", after.to_json()},
                        {"model_bytes", bytes},
                        {"program", program.to_json()},
                        {"layers", to_json(layers)},
                        {"checkpoint", checkpoint.string()}};
  write_json(folder.to_write("results.json"), results);
  print_result(
      options, results,
      to_text(layers, kLayersPrinted) +
          fmt::format("\nfloat      top1 {:.2f}  top5 {:.2f}  loss {:.5f}\nquantized  top1 {:.2f}  top5 {:.2f}  "
                      "loss {:.5f}  ({} bytes of parameters)\n{}\n{}\n",
                      before.top1(), before.top5(), before.loss(), after.top1(), after.top5(), after.loss(), bytes,
                      program.to_text(), checkpoint.string()));
}

const Subcommand quantize_command = config_command<QuantizeCommandConfig>(
    "quantize", "post-training quantization: calibrate, prepare, evaluate, save", run_quantize);

}  // namespace

}  // namespace qgrad
