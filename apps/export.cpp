// qgrad export CHECKPOINT: a quantized model for other runtimes, or as an integer program for qgrad's own engine.
#include <fmt/format.h>

#include "apps/command.h"
#include "apps/deployment.h"
#include "apps/onnx_test_data.h"
#include "apps/progress.h"
#include "core/json.h"
#include "quant/deploy/engine.h"
#include "quant/deploy/file.h"
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

// Adds what a program's users need to know: the normalisation and, where the data set is here (`folder`: --data), its
// classes' names. A program runs without names, so a data set that is not here is no reason to stop.
deploy::Program with_data(deploy::Program program, const DataConfig& data, const std::optional<std::string>& folder) {
  const int32_t channels = program.tensors[static_cast<size_t>(program.input)].channels;
  program.mean = per_channel(data.transforms.mean, channels, "mean");
  program.deviation = per_channel(data.transforms.std, channels, "std");
  try {
    program.class_names = open_dataset(data.dataset, folder)->class_names();
  } catch (const Error& e) {
    note(fmt::format("classes stay without names: {}", e.what()));
  }
  return program;
}

// The engine's results on the first test images, beside the ONNX file.
void write_test_data(const ExportOptions& chosen, const ModelFile& file, const deploy::Program& program,
                     const std::optional<std::string>& data_folder) {
  const deploy::Engine engine(program);
  DataConfig data_config = file.experiment.data;
  data_config.eval_batch_size = kImagesOfSet;
  data_config.test_images = chosen.test_images;
  const ExperimentData data(data_config, file.experiment.seed, data_folder);
  Loader test = data.test();
  test.start_epoch(0);
  const std::filesystem::path folder = std::filesystem::path(*chosen.onnx).parent_path();
  for (int set = 0; const auto batch = test.next(); ++set)
    write_onnx_test_set(folder / fmt::format("test_data_set_{}", set), engine, batch->images, chosen.all_tensors);
}

void run(const ExportOptions& chosen, const CommonOptions& options) {
  ModelFile file =
      load_model(chosen.checkpoint, read_config_option(chosen.config, options, {"data", "model", "quantizer"}));
  const deploy::Lowered lowered = program_of(file);
  // Whatever may be refused comes before the first file is written.
  struct Export {
    const char* kind;
    std::string file, bytes;
  };
  std::vector<Export> exports;
  if (chosen.program)
    exports.push_back({"program", *chosen.program,
                       deploy::program_bytes(with_data(lowered.program, file.experiment.data, options.data))});
  if (chosen.onnx)
    exports.push_back(
        {"onnx", *chosen.onnx,
         deploy::onnx_model(lowered.program, {.name = file.experiment.name, .all_tensors = chosen.all_tensors})});
  Json result = {{"checkpoint", chosen.checkpoint}, {"beyond_simulation", lowered.beyond_simulation}};
  std::string text;
  for (const Export& e : exports) {
    write_file_atomically(e.file, e.bytes);
    result[e.kind] = {{"file", e.file}, {"bytes", e.bytes.size()}};
    text += fmt::format("{}: {} bytes\n", e.file, e.bytes.size());
  }
  if (chosen.test_images > 0) write_test_data(chosen, file, lowered.program, options.data);
  for (const std::string& layer : lowered.beyond_simulation)
    text += fmt::format("{}: sums may pass 2^24, which the simulation rounds and the exported model does not\n", layer);
  print_result(options, result, text);
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App& command =
      *app.add_subcommand("export", "write a quantized model for other runtimes: ONNX, or an integer program");
  const auto options = add_common_options(command, {"--set", "--data"});
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
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31))
      ->needs(onnx);
  command.callback([=] { run(*chosen, *options); });
}

}  // namespace qgrad
