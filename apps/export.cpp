// qgrad export CHECKPOINT: a quantized model for other runtimes, or as an integer program for qgrad's own engine.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <tuple>

#include "apps/command.h"
#include "apps/export.h"
#include "apps/onnx_test_data.h"
#include "core/divide_up.h"
#include "core/file.h"
#include "core/file_kind.h"
#include "core/json.h"
#include "core/ops.h"
#include "core/random.h"
#include "engine/engine.h"
#include "engine/program_file.h"
#include "quant/export/onnx.h"
#include "tasks/deployment.h"
#include "tasks/progress.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

constexpr int64_t kImagesOfSet = 100, kImagesCompared = 16;

// What an export wants of the checkpoint's data.
struct DataForExport {
  DataDescription description;
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

// The data set with its test images read. One that is not here is no reason to stop, unless it is given (`folder`:
// --data): null.
std::unique_ptr<Dataset> dataset_if_here(const ModelFile& file, const std::optional<std::string>& folder) {
  try {
    auto dataset = open_dataset(dataset_of(file, folder), folder);
    check(dataset->test().size() > 0, "{}: no test images", dataset->name());
    return dataset;
  } catch (const Error& e) {
    if (folder) throw;
    const bool named = !file.trained_on.data.classes.empty();
    note(fmt::format("{}random numbers stand for images: {}", named ? "" : "classes stay without names, and ",
                     e.what()));
    return nullptr;
  }
}

// Without the data set the checkpoint says what it is like, but for the classes' names in files of others and of
// earlier versions: their programs run without. Random numbers do for a comparison.
DataForExport data_for_export(const ModelFile& file, const Tensor& example, const std::optional<std::string>& folder) {
  const auto& [data, seed] = std::tie(file.experiment.data, file.experiment.seed);
  const auto dataset = dataset_if_here(file, folder);
  DataForExport result{.description = dataset ? description_for(*dataset, data.transforms,
                                                                folder ? "--data" : data.dataset.file, file.trained_on)
                                              : description_in(file, example),
                       .images = {}};
  if (dataset) {
    const ImageSet& test = dataset->test();
    Loader loader(
        test, first(all_indices(test.size()), std::min(test.size(), kImagesCompared)),
        Transform({.mean = result.description.mean, .std = result.description.std}, dataset->image_shape(), seed),
        {.batch_size = kImagesCompared, .threads = 0});
    loader.start_epoch(0);
    result.images = loader.next()->images;
  } else {
    result.images = random_images(example, seed);
    result.kind = "images of random numbers";
  }
  const Shape one = slice(result.images, 0, 0, 1).shape();
  check(one == example.shape(), "the data set's images are {} each, the model takes {}", one, example.shape());
  return result;
}

// The images of --test-data.
std::unique_ptr<Task> data_of_test_sets(const ExportOptions& chosen, const ModelFile& file,
                                        const std::optional<std::string>& folder) {
  ModelFile few = {.experiment = file.experiment, .trained_on = file.trained_on};
  few.experiment.data.eval_batch_size = kImagesOfSet;
  few.experiment.data.test_images = chosen.test_images;
  return open_task(few, folder);
}

// The engine's results, beside the ONNX file.
void write_test_data(const ExportOptions& chosen, const deploy::Program& program, const Task& images) {
  const deploy::Engine engine(program);
  Loader test = images_of(images).test();
  test.start_epoch(0);
  const std::filesystem::path folder = std::filesystem::path(*chosen.onnx).parent_path();
  for (int set = 0; const auto batch = test.next(); ++set)
    write_onnx_test_set(folder / fmt::format("test_data_set_{}", set), engine, batch->images, chosen.all_tensors);
}

Json to_json(const std::vector<deploy::OnnxDifference>& differences) {
  Json list = Json::array();
  for (const auto& [name, form] : differences)
    list.push_back({{"layer", name}, {"node", form.node}, {"differing", form.differing}, {"of", form.of}});
  return list;
}

// What ONNX Runtime's integer forms would round otherwise, or do.
std::string differences_text(const std::vector<deploy::OnnxDifference>& differences, bool fused) {
  if (differences.empty()) return "";
  if (!fused)
    return fmt::format(
        "{} of its additions, products and means stay in float: ONNX Runtime's integer forms would round some of them "
        "otherwise; --fused takes these all the same, and says how many\n",
        differences.size());
  std::string text;
  for (const auto& [name, form] : differences)
    text += fmt::format("{} ({}): of all {} cases ONNX Runtime rounds {} otherwise than the program\n", name, form.node,
                        form.of, form.differing);
  return text;
}

// Throws where a file would take the place of one of another kind, of the checkpoint, or of the other file.
void check_places(const ExportOptions& chosen) {
  namespace fs = std::filesystem;
  const auto same = [](const std::string& a, const std::string& b) {
    return fs::weakly_canonical(a) == fs::weakly_canonical(b);
  };
  check(!chosen.program || !chosen.onnx || !same(*chosen.program, *chosen.onnx),
        "--program and --onnx name the same file, {}", chosen.program.value_or(""));
  for (const auto& [file, wanted] :
       {std::pair(&chosen.program, "an integer program"), std::pair(&chosen.onnx, "an ONNX model")}) {
    if (!*file) continue;
    check_can_write(**file);
    check(!same(**file, chosen.checkpoint), "{}: is the checkpoint that is exported", **file);
    if (!fs::is_regular_file(**file)) continue;
    const std::string kind = kind_of_file(**file);
    check(kind.empty() || kind == wanted, "{}: is there already, and is {}, expected {} or nothing", **file, kind,
          wanted);
  }
  if (!chosen.onnx || chosen.test_images == 0) return;
  const int64_t sets = divide_up(int64_t{chosen.test_images}, kImagesOfSet);
  const fs::path left = fs::path(*chosen.onnx).parent_path() / fmt::format("test_data_set_{}", sets);
  check(!fs::exists(left), "{}: is there already, and would stand beside {} sets of this model", left.string(), sets);
}

// What other runtimes may compute otherwise: added to the results, and as lines.
std::string onnx_remarks(const deploy::Program& program, bool fused, Json& result) {
  std::string text = "the ONNX file was read back: names, types, shapes and sizes fit, every number is finite\n";
  const std::vector<std::string> layers = deploy::float_sums_before_integers(program);
  result["float_sums_before_integers"] = layers;
  for (const std::string& layer : layers)
    text += fmt::format(
        "{}: sums floats whose results become integers; other runtimes sum in another order, and integers at ties, "
        "with what follows from them, may differ\n",
        layer);
  const std::vector<deploy::OnnxDifference> differences = deploy::onnx_differences(program);
  result["fused"] = fused;
  result["differing"] = to_json(differences);
  text += differences_text(differences, fused);
  const std::vector<std::string> pairs = deploy::pairs_beyond_16_bits(program);
  result["pairs_beyond_16_bits"] = pairs;
  if (!pairs.empty())
    text += fmt::format(
        "{} of its layers: two products can pass 16 bits, where ONNX Runtime's default saturates on processors with "
        "AVX2 but without VNNI; there, set session.x64quantprecision=1, or quantize with \"reduce_range\": true\n",
        pairs.size());
  return text;
}

}  // namespace

Exported export_checkpoint(const ExportOptions& chosen, const CommonOptions& options) {
  check_places(chosen);
  ModelFile file =
      load_model(chosen.checkpoint, read_config_option(chosen.config, options, {"data", "model", "quantizer"}));
  const DataForExport data = data_for_export(file, example_of_program(file), options.data);
  const Tensor expected = (*file.model)(data.images);
  const deploy::Lowered lowered = program_of(file);
  // Whatever may be refused comes before the first file is written.
  std::unique_ptr<Task> test_sets;
  if (chosen.test_images > 0) test_sets = data_of_test_sets(chosen, file, options.data);
  const std::string program =
      deploy::program_bytes(with_labels(lowered.program, data.description, file.experiment.data.dataset));
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
         deploy::onnx_model(lowered.program,
                            {.name = file.experiment.name, .all_tensors = chosen.all_tensors, .fused = chosen.fused})});
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
  if (chosen.onnx) text += onnx_remarks(lowered.program, chosen.fused, result["onnx"]);
  for (const std::string& layer : lowered.beyond_simulation)
    text += fmt::format("{}: sums may pass 2^24, which the simulation rounds and the exported model does not\n", layer);
  return {std::move(result), std::move(text)};
}

namespace {

const Subcommand export_command{
    "export", "write a quantized model for other runtimes: ONNX, or an integer program",
    [](CLI::App& command) {
      const auto options = add_common_options(command, {"--set", "--data"});
      const auto chosen = std::make_shared<ExportOptions>();
      command.add_option("CHECKPOINT", chosen->checkpoint, "safetensors file")->required();
      CLI::Option_group& files = *command.add_option_group("files", "what to write, at least one");
      CLI::Option* onnx = files.add_option("--onnx", chosen->onnx, "the ONNX file to write");
      files.add_option("--program", chosen->program,
                       "the program file to write, for `qgrad predict` and qgrad_engine.h");
      files.require_option(1, 2);
      command.add_option("--config", chosen->config, "config with data and model, for files that do not say");
      command.add_flag("--all-tensors", chosen->all_tensors, "make every quantized tensor an output of the model")
          ->needs(onnx);
      command
          .add_flag("--fused", chosen->fused,
                    "write what ONNX Runtime has faster integer forms of as these want it, also where they round some "
                    "numbers otherwise than the program")
          ->needs(onnx);
      command
          .add_option("--test-data", chosen->test_images,
                      "write the engine's results for the first N test images beside the model, as ONNX test data")
          ->check(whole_number(1, uint64_t{1} << 31))
          ->needs(onnx);
      command.callback([=] {
        const auto [results, text] = export_checkpoint(*chosen, *options);
        print_result(*options, results, text);
      });
    },
    "qgrad export out/net8/model.safetensors --program net.qgi --onnx net.onnx\n"
    "qgrad export out/net8/model.safetensors --onnx net.onnx --test-data 10"};

}  // namespace

}  // namespace qgrad
