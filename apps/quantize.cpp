// qgrad quantize CONFIG: post-training quantization: calibrate, prepare, evaluate, save.
#include <fmt/format.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/command.h"
#include "apps/report/table.h"
#include "quant/post_train/layer_report.h"
#include "quant/simulation/layer.h"
#include "tasks/deployment.h"
#include "tasks/image_settings.h"
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

Table layer_table(std::span<const LayerError> layers) {
  using enum Table::Align;
  Table table{{{"layer, worst first", left}, {"SQNR dB"}, {"mean sq error"}, {"saturated"}, {"cosine"}}, {}};
  for (const LayerError& layer : layers)
    table.rows.push_back({layer.path, fmt::format("{:.2f}", layer.sqnr_db),
                          fmt::format("{:.4g}", layer.mean_squared_error),
                          fmt::format("{:.3f} %", 100 * layer.saturation), fmt::format("{:.5f}", layer.cosine)});
  return table;
}

std::string text_of(const std::vector<LayerError>& layers, const Metrics& before, const Metrics& after, int64_t bytes,
                    const Deployment& program) {
  const size_t shown = std::min(kLayersPrinted, layers.size());
  std::string text = to_text(layer_table(std::span(layers).first(shown)));
  if (shown < layers.size()) text += fmt::format("and {} more in results.json\n", layers.size() - shown);
  Table table{{{"", Table::Align::left}, {"top-1 %"}, {"top-5 %"}, {"loss"}, {"bytes"}, {"images/s"}}, {}};
  const auto add = [&](const char* name, const Metrics& m, const std::string& size, const std::string& speed) {
    table.rows.push_back({name, fmt::format("{:.2f}", m.top1()), fmt::format("{:.2f}", m.top5()),
                          fmt::format("{:.5f}", m.loss()), size, speed});
  };
  const auto rate = [&](double speed) { return program.refused.empty() ? fmt::format("{:.0f}", speed) : ""; };
  add("float", before, "", "");
  add("quantized", after, std::to_string(bytes), rate(program.simulated_images_per_second));
  if (program.refused.empty())
    add("program", program.metrics, std::to_string(program.bytes), rate(program.images_per_second));
  text += "\n" + to_text(table);
  return program.refused.empty() ? text : text + fmt::format("no program: {}\n", program.refused);
}

void run_quantize(const std::string& config_file, const CommonOptions& options) {
  auto config = read_command_config<QuantizeCommandConfig>(config_file, options);
  if (!config.checkpoint)
    config_error(config_file, "'checkpoint' is missing: post-training quantization needs a trained model");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(), "this quantizer works by training; use `qgrad train`");
  OutputFolder folder(output_folder(options.out, config.name));
  folder.check_spares({*config.checkpoint, config.calibration ? config.calibration->statistics.value_or("") : ""},
                      {"model.safetensors", "quant_stats_after_prepare_model.json"});
  const auto task = open_task(config, options.data);
  check_labelled(*task);
  config.model = with_data(config.model, task->description());
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
  print_result(options, results, text_of(layers, before, after, bytes, program) + checkpoint.string() + "\n");
}

const Subcommand quantize_command = config_command<QuantizeCommandConfig>(
    "quantize", "post-training quantization: calibrate, prepare, evaluate, save", run_quantize);

}  // namespace

}  // namespace qgrad
