// qgrad export CHECKPOINT: a quantized model for other runtimes, or as an integer program for qgrad's own engine.
#include <fmt/format.h>

#include "apps/command.h"
#include "apps/deployment.h"
#include "apps/export_program.h"
#include "apps/onnx_test_data.h"
#include "apps/progress.h"
#include "core/json.h"
#include "quant/deploy/engine.h"
#include "quant/deploy/onnx.h"

namespace qgrad {
namespace {

struct ExportOptions {
  std::string checkpoint;
  std::optional<std::string> onnx, program, config;
  bool all_tensors = false;
  int64_t test_images = 0;
};

constexpr int64_t kImagesOfSet = 100;

void write_test_data(const std::filesystem::path& folder, const deploy::Engine& engine, const ExportOptions& chosen,
                     Loader test) {
  test.start_epoch(0);
  int64_t done = 0;
  for (auto batch = test.next(); batch && done < chosen.test_images; batch = test.next()) {
    const int64_t images = std::min(batch->images.dim(0), chosen.test_images - done);
    Shape shape = batch->images.shape();
    const int64_t each = batch->images.numel() / shape[0];
    for (int64_t first = 0; first < images; first += kImagesOfSet) {
      const int64_t count = std::min(kImagesOfSet, images - first);
      const Tensor set = Tensor::from(
          {count, shape[1], shape[2], shape[3]},
          batch->images.data().subspan(static_cast<size_t>(first * each), static_cast<size_t>(count * each)));
      write_onnx_test_set(folder / fmt::format("test_data_set_{}", (done + first) / kImagesOfSet), engine, set,
                          chosen.all_tensors);
    }
    done += images;
  }
}

size_t export_onnx(const ExportOptions& chosen, const ModelFile& file, const deploy::Program& program,
                   const std::optional<std::string>& data_folder) {
  const std::filesystem::path to = *chosen.onnx;
  if (to.has_parent_path()) std::filesystem::create_directories(to.parent_path());
  const std::string bytes =
      deploy::onnx_model(program, {.name = file.experiment.name, .all_tensors = chosen.all_tensors});
  write_file_atomically(to, bytes);
  if (chosen.test_images > 0) {
    const deploy::Engine engine(program);
    DataConfig data_config = file.experiment.data;
    data_config.eval_batch_size = kImagesOfSet;
    const ExperimentData data(data_config, file.experiment.seed, data_folder);
    write_test_data(to.parent_path(), engine, chosen, data.test());
  }
  return bytes.size();
}

void run(const ExportOptions& chosen, const CommonOptions& options) {
  std::optional<Config> config;
  if (chosen.config) config = read_command_config(*chosen.config, options);
  check(config || options.set.empty(), "--set changes a config file: give one with --config");
  ModelFile file = load_model(chosen.checkpoint, config);
  const deploy::Lowered lowered = program_of(file);
  Json result = {{"checkpoint", chosen.checkpoint}, {"beyond_simulation", lowered.beyond_simulation}};
  std::string text;
  const auto report = [&](const char* kind, const std::string& to, size_t bytes) {
    result[kind] = to;
    result[chosen.onnx && chosen.program ? fmt::format("{}_bytes", kind) : "bytes"] = bytes;
    text += fmt::format("{}: {} bytes\n", to, bytes);
  };
  if (chosen.program)
    report("program", *chosen.program,
           export_program(*chosen.program, lowered.program, file.experiment.data, options.data));
  if (chosen.onnx) report("onnx", *chosen.onnx, export_onnx(chosen, file, lowered.program, options.data));
  for (const std::string& layer : lowered.beyond_simulation)
    text += fmt::format("{}: sums may pass 2^24, which the simulation rounds and the exported model does not\n", layer);
  print_result(options, result, text);
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App& command =
      *app.add_subcommand("export", "write a quantized model for other runtimes: ONNX, or an integer program");
  const auto options = add_common_options(command);
  const auto chosen = std::make_shared<ExportOptions>();
  command.add_option("CHECKPOINT", chosen->checkpoint, "safetensors file")->required();
  CLI::Option_group& files = *command.add_option_group("files", "what to write, at least one");
  CLI::Option* onnx = files.add_option("--onnx", chosen->onnx, "the ONNX file to write");
  files.add_option("--program", chosen->program, "the program file to write, for `qgrad predict` and qgrad_engine.h");
  files.require_option(1, 2);
  command.add_option("--config", chosen->config, "config with data and model, for files that do not say");
  command.add_flag("--all-tensors", chosen->all_tensors, "make every quantized tensor an output of the model")
      ->needs(onnx);
  command
      .add_option("--test-data", chosen->test_images,
                  "write the engine's results for the first N test images beside the model, as ONNX test data")
      ->needs(onnx);
  command.callback([=] { run(*chosen, *options); });
}

}  // namespace qgrad
