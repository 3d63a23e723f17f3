// qgrad export CHECKPOINT: a quantized model for other runtimes, or as an integer program for qgrad's own engine.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "apps/command.h"
#include "apps/deployment.h"
#include "apps/onnx_test_data.h"
#include "apps/progress.h"
#include "core/json.h"
#include "core/ops.h"
#include "core/random.h"
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

constexpr int64_t kImagesOfSet = 100, kImagesCompared = 16;

// What an export wants of the checkpoint's data set.
struct DataForExport {
  std::vector<std::string> class_names;
  Tensor images;
  const char* kind = "test images";
};

Tensor random_images(const Tensor& example, uint64_t seed) {
  std::vector<int64_t> dims(example.shape().dims().begin(), example.shape().dims().end());
  dims[0] = kImagesCompared;
  Tensor images = Tensor::empty(Shape(std::span<const int64_t>(dims)));
  RandomStream random(seed, "export");
  for (float& x : images.mutable_data()) x = random.normal();
  return images;
}

// A data set that is not here (`folder`: --data) is no reason to stop: a program runs without names, and random numbers
// do for a comparison. One of other images than the model's is.
DataForExport data_for_export(const ModelFile& file, const Tensor& example, const std::optional<std::string>& folder) {
  const auto& [data, seed] = std::tie(file.experiment.data, file.experiment.seed);
  DataForExport result;
  try {
    const auto dataset = open_dataset(data.dataset, folder);
    const ImageSet& test = dataset->test();
    const int64_t count = std::min(test.size(), kImagesCompared);
    check(count > 0, "{}: no test images", dataset->name());
    Loader loader(test, first(all_indices(test.size()), count),
                  Transform(data.transforms.test_time(), dataset->image_shape(), seed),
                  {.batch_size = kImagesCompared, .threads = 0});
    loader.start_epoch(0);
    result.class_names = dataset->class_names();
    result.images = loader.next()->images;
  } catch (const Error& e) {
    note(fmt::format("classes stay without names, and random numbers stand for images: {}", e.what()));
    result.images = random_images(example, seed);
    result.kind = "images of random numbers";
  }
  const Shape one = slice(result.images, 0, 0, 1).shape();
  check(one == example.shape(), "the data set's images are {} each, the model takes {}", one, example.shape());
  return result;
}

// Adds what a program's users need to know.
deploy::Program with_labels(deploy::Program program, const TransformConfig& transforms,
                            const std::vector<std::string>& class_names) {
  const int32_t channels = program.tensors[static_cast<size_t>(program.input)].channels;
  program.mean = per_channel(transforms.mean, channels, "mean");
  program.deviation = per_channel(transforms.std, channels, "std");
  program.class_names = class_names;
  return program;
}

// The images of --test-data.
ExperimentData data_of_test_sets(const ExportOptions& chosen, const ModelFile& file,
                                 const std::optional<std::string>& folder) {
  DataConfig config = file.experiment.data;
  config.eval_batch_size = kImagesOfSet;
  config.test_images = chosen.test_images;
  return {config, file.experiment.seed, folder};
}

// The engine's results, beside the ONNX file.
void write_test_data(const ExportOptions& chosen, const deploy::Program& program, const ExperimentData& data) {
  const deploy::Engine engine(program);
  Loader test = data.test();
  test.start_epoch(0);
  const std::filesystem::path folder = std::filesystem::path(*chosen.onnx).parent_path();
  for (int set = 0; const auto batch = test.next(); ++set)
    write_onnx_test_set(folder / fmt::format("test_data_set_{}", set), engine, batch->images, chosen.all_tensors);
}

void run(const ExportOptions& chosen, const CommonOptions& options) {
  ModelFile file =
      load_model(chosen.checkpoint, read_config_option(chosen.config, options, {"data", "model", "quantizer"}));
  const DataForExport data = data_for_export(file, example_of_program(file), options.data);
  const Tensor expected = (*file.model)(data.images);
  const deploy::Lowered lowered = program_of(file);
  // Whatever may be refused comes before the first file is written.
  std::optional<ExperimentData> test_sets;
  if (chosen.test_images > 0) test_sets.emplace(data_of_test_sets(chosen, file, options.data));
  const std::string program =
      deploy::program_bytes(with_labels(lowered.program, file.experiment.data.transforms, data.class_names));
  const Comparison comparison = compare_with_model(program, lowered, *file.model, data.images, expected);
  struct Export {
    const char* kind;
    std::string file, bytes;
  };
  std::vector<Export> exports;
  if (chosen.program) exports.push_back({"program", *chosen.program, program});
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
  if (test_sets) write_test_data(chosen, lowered.program, *test_sets);
  result["compared"] = comparison.to_json();
  result["compared"]["kind"] = data.kind;
  text += fmt::format("the program was run on {} {}: {}\n", comparison.images, data.kind, comparison.to_text());
  if (chosen.onnx) {
    const std::vector<std::string> layers = deploy::float_sums_before_integers(lowered.program);
    result["onnx"]["float_sums_before_integers"] = layers;
    text += "the ONNX file was read back: names, types, shapes and sizes fit, every number is finite\n";
    for (const std::string& layer : layers)
      text += fmt::format(
          "{}: sums floats whose results become integers; other runtimes sum in another order, and integers at ties, "
          "with what follows from them, may differ\n",
          layer);
  }
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
      ->check(whole_number(1, uint64_t{1} << 31))
      ->needs(onnx);
  command.callback([=] { run(*chosen, *options); });
}

}  // namespace qgrad
