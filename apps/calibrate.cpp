// qgrad calibrate CONFIG: activation statistics to a JSON file.
#include <fmt/format.h>

#include "apps/command.h"
#include "nn/checkpoint.h"
#include "tasks/image_settings.h"
#include "tasks/output_folder.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

struct CalibrateCommandConfig : ExperimentConfig {
  CalibrationConfig calibration;
  std::optional<ClassConfig<Quantizer>> quantizer;
};
void fields(Fields& v, CalibrateCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("calibration", c.calibration, {.help = "which training images"});
  v("quantizer", c.quantizer, {.help = "not used here, so that a config of `qgrad quantize` serves both"});
}

void run_calibrate(const std::string& config_file, const CommonOptions& options) {
  auto config = read_command_config<CalibrateCommandConfig>(config_file, options);
  if (!config.checkpoint) config_error(config_file, "'checkpoint' is missing: calibration needs a trained model");
  check_measures(config.calibration);
  OutputFolder folder(output_folder(options.out, config.name));
  folder.check_spares({*config.checkpoint}, {"quantization_stats.json"});
  const auto task = open_task(config, options.data);
  config.model = with_data(config.model, task->description());
  const ImageTask& data = images_of(*task);
  check_calibration(data, config.calibration, config_file, "calibration");
  check_can_write(folder.path() / "quantization_stats.json");
  const ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  QuantStats stats = calibration_stats(*model, data, config.calibration, "calibration");
  stats.network = state_checksum(*model);
  const std::filesystem::path file = folder.to_write("quantization_stats.json");
  write_stats(file, stats);
  const int64_t images = data.calibration(config.calibration).images();
  print_result(options, {{"statistics", file.string()}, {"images", images}, {"layers", stats.size()}},
               fmt::format("{} layers, {} images: {}\n", stats.size(), images, file.string()));
}

const Subcommand calibrate_command =
    config_command<CalibrateCommandConfig>("calibrate", "activation statistics to JSON", run_calibrate,
                                           "qgrad calibrate configs/cifar10_resnet20_post_train.json --out out/stats");

}  // namespace

}  // namespace qgrad
