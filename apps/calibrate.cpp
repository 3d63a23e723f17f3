// qgrad calibrate CONFIG: activation statistics to a JSON file.
#include <fmt/format.h>

#include "apps/command.h"
#include "apps/quantization.h"

namespace qgrad {
namespace {

struct CalibrateCommandConfig : ExperimentConfig {
  CalibrationConfig calibration;
  std::optional<ClassConfig<Quantizer>> quantizer;
};
template <class V>
void fields(V& v, CalibrateCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("calibration", c.calibration, {.help = "which training images"});
  v("quantizer", c.quantizer, {.help = "not used here, so that a config of `qgrad quantize` serves both"});
}

void run(const std::string& config_file, const CommonOptions& options) {
  const auto config = read_command_config<CalibrateCommandConfig>(config_file, options);
  if (!config.checkpoint) config_error(config_file, "'checkpoint' is missing: calibration needs a trained model");
  check_measures(config.calibration);
  const auto task = open_task(config, options.data);
  const ExperimentData& data = images_of(*task);
  const auto file = output_folder(options.out, config.name) / "quantization_stats.json";
  check_can_write(file);
  const ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  const QuantStats stats = calibration_stats(*model, data, config.calibration, "calibration");
  write_stats(file, stats);
  print_result(options,
               {{"statistics", file.string()}, {"images", config.calibration.images}, {"layers", stats.size()}},
               fmt::format("{} layers, {} images: {}\n", stats.size(), config.calibration.images, file.string()));
}

}  // namespace

void add_calibrate_command(CLI::App& app) {
  add_config_command<CalibrateCommandConfig>(app, "calibrate", "activation statistics to JSON", run);
}

}  // namespace qgrad
