// Lowering, running and timing a checkpoint.
#include "tasks/deployment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/file_kind.h"
#include "core/ops.h"
#include "data/image_fit.h"
#include "engine/program_file.h"
#include "quant/export/from_trained.h"
#include "tasks/image_settings.h"
#include "tasks/progress.h"
#include "tasks/stopwatch.h"

namespace qgrad {
namespace {

// The simulation is timed on so many images: it is the slower one.
constexpr int64_t kSimulatedImages = 1000;

// Of outputs, one row for each image.
struct Difference {
  int64_t numbers = 0, same_class = 0;
  double largest = 0;
};
Difference difference(const Tensor& a, const Tensor& b) {
  Difference d;
  for (int64_t row = 0, n = a.dim(1); row < a.dim(0); ++row) {
    const auto x = a.data().subspan(static_cast<size_t>(row * n), static_cast<size_t>(n));
    const auto y = b.data().subspan(static_cast<size_t>(row * n), static_cast<size_t>(n));
    for (size_t i = 0; i < x.size(); ++i) {
      d.numbers += x[i] != y[i];
      d.largest = std::max(d.largest, std::fabs(double{x[i]} - double{y[i]}));
    }
    d.same_class += std::ranges::max_element(x) - x.begin() == std::ranges::max_element(y) - y.begin();
  }
  return d;
}

bool sums_floats(const deploy::Program& program) {
  return std::ranges::any_of(program.ops, [&](const deploy::Op& op) { return sums_floats(program, op); });
}

void check_finite(const char* whose, const Tensor& outputs) {
  for (const float y : outputs.data()) check(std::isfinite(y), "{} gives {} for an image", whose, y);
}

}  // namespace

Tensor example_of_program(const ModelFile& file) {
  const std::vector<Tensor> inputs = example_inputs(file.experiment.model, file.trained_on.data);
  check(inputs.size() == 1, "a program has one input, but the model takes {}", inputs.size());
  return inputs[0];
}

deploy::Lowered program_of(ModelFile& file) {
  const Tensor example = example_of_program(file);
  deploy::to_integer_layers(file.model, example);
  return deploy::lower(*file.model, example);
}

DataDescription description_in(const ModelFile& file, const Tensor& example) {
  DataDescription description = file.trained_on.data;
  if (!description.mean.empty()) return description;
  const TransformConfig& transforms = file.experiment.data.transforms;
  if (!transforms.mean || !transforms.std)
    note(fmt::format("the file does not say how its images are normalised: a {} of 0.5 {} taken",
                     transforms.mean  ? "std"
                     : transforms.std ? "mean"
                                      : "mean and std",
                     transforms.mean || transforms.std ? "is" : "are"));
  auto [mean, std] = normalisation(transforms, example.dim(-1));
  description.mean = std::move(mean);
  description.std = std::move(std);
  return description;
}

deploy::Program with_labels(deploy::Program program, const DataDescription& data, const Config& dataset) {
  program.preparation = preparation_of(dataset);
  program.mean = data.mean;
  program.deviation = data.std;
  program.class_names = data.classes;
  return program;
}

deploy::Program program_in(const std::filesystem::path& file, const std::optional<Config>& config) {
  if (deploy::is_program_file(file)) {
    check(!config, "{}: a program says all that it needs, a config is for checkpoints", file.string());
    return deploy::read_program(file);
  }
  const std::string kind = kind_of_file(file);
  check(kind.empty() || kind == "a safetensors file" || kind == "an ONNX model",
        "{}: expected a program of `qgrad export` or a checkpoint (safetensors, ONNX), got {}", file.string(), kind);
  ModelFile checkpoint = load_model(file, config);
  const DataDescription description = description_in(checkpoint, example_of_program(checkpoint));
  return with_labels(program_of(checkpoint).program, description, checkpoint.experiment.data.dataset);
}

Comparison compare_with_model(std::string_view program, const deploy::Lowered& lowered, Module& model,
                              const Tensor& images, const Tensor& expected) {
  const deploy::Engine engine(deploy::program_from_bytes(program, "the program"));
  Tensor computed = Tensor::empty({images.dim(0), engine.output_count()});
  engine.run(images.data(), computed.mutable_data());
  const Tensor simulated = reshape(model(images), computed.shape());
  check_finite("the checkpoint's model", expected);
  check_finite("the program", computed);
  const Difference from_model = difference(computed, simulated);
  const Difference from_checkpoint = difference(computed, reshape(expected, computed.shape()));
  const bool is_exact = lowered.beyond_simulation.empty() && !sums_floats(lowered.program);
  const double tolerance = is_exact ? 0 : 0.1 * double{max(abs(simulated)).item()};
  check(from_model.largest <= tolerance,
        "the program does not compute what the model does: {} of {} outputs differ, by up to {}", from_model.numbers,
        computed.numel(), from_model.largest);
  check(2 * from_checkpoint.same_class >= images.dim(0),
        "the program is another network than the checkpoint: of {} images, {} get the checkpoint's class, and outputs "
        "differ by up to {:.2g}",
        images.dim(0), from_checkpoint.same_class, from_checkpoint.largest);
  return {.images = images.dim(0),
          .outputs = computed.numel(),
          .differing = from_model.numbers,
          .largest = from_model.largest,
          .same_class = from_checkpoint.same_class,
          .from_checkpoint = from_checkpoint.largest};
}

Json Comparison::to_json() const {
  return {{"images", images},
          {"outputs", outputs},
          {"differing", differing},
          {"largest_difference", largest},
          {"same_class_as_checkpoint", same_class},
          {"largest_difference_from_checkpoint", from_checkpoint}};
}

std::string Comparison::to_text() const {
  return fmt::format(
      "{} of {} outputs differ from the simulation's{}; {} of {} images get the class that the checkpoint gives them, "
      "whose outputs differ by up to {:.2g}",
      differing, outputs, differing > 0 ? fmt::format(", by up to {:.2g}", largest) : "", same_class, images,
      from_checkpoint);
}

deploy::Preparation preparation_of(const Config& dataset) {
  if (dataset.json().is_null()) return {};  // nobody said
  deploy::Preparation preparation;
  const auto fit = configured_fit(dataset);
  if (!fit) return preparation;
  const Json settings = Registry<Dataset>::resolve(dataset);
  if (settings.contains("background")) preparation.background = settings.at("background").get<uint8_t>();
  preparation.center_crop = fit->resize || fit->center_crop;
  if (!fit->resize) return preparation;
  preparation.resize = {static_cast<int32_t>(fit->resize->first)};
  if (fit->resize->second) preparation.resize.push_back(static_cast<int32_t>(*fit->resize->second));
  return preparation;
}

Image image_for(const deploy::Program& program, const std::filesystem::path& file) {
  const deploy::TensorInfo& input = program.tensors[static_cast<size_t>(program.input)];
  const auto& [resize, center_crop, background] = program.preparation;
  check(input.channels <= 4, "the program takes {} channels, images have 1 to 4", input.channels);
  const Sides whole{input.height, input.width};
  ImageFit fit;
  (center_crop ? fit.center_crop : fit.size) = whole;
  if (resize.size() == 1) fit.resize = Sides{resize[0], std::nullopt};
  if (resize.size() == 2) fit.resize = Sides{resize[0], resize[1]};
  return fitted(read_image(file, {.channels = input.channels, .background = background}), fit);
}

DataDescription describe(const deploy::Program& program) {
  const deploy::TensorInfo& input = program.tensors[static_cast<size_t>(program.input)];
  return {.image = {input.height, input.width, input.channels},
          .mean = program.mean,
          .std = program.deviation,
          .classes = program.class_names};
}

EngineRun run_engine(const deploy::Engine& engine, Loader loader, const std::string& label,
                     const std::function<void(const Tensor& images)>& beside) {
  double seconds = 0;
  const auto forward = [&](const Tensor& images) {
    Tensor logits = Tensor::empty({images.dim(0), engine.output_count()});
    const Stopwatch stopwatch;
    engine.run(images.data(), logits.mutable_data());
    seconds += stopwatch.seconds();
    if (beside) beside(images);
    return logits;
  };
  const Metrics metrics = evaluate(forward, loader, label);
  return {metrics, seconds};
}

Deployment deploy_checkpoint(const std::filesystem::path& checkpoint, const ImageTask& data, const std::string& label) {
  Deployment result;
  ModelFile file = load_model(checkpoint, std::nullopt);
  deploy::Lowered lowered;
  try {
    lowered = program_of(file);
    result.bytes = static_cast<int64_t>(deploy::program_bytes(lowered.program).size());
  } catch (const Error& e) {
    result.refused = e.what();
    return result;
  }
  double simulation_seconds = 0;
  int64_t simulated = 0;
  const EngineRun run =
      run_engine(deploy::Engine(std::move(lowered.program)), data.test(), label, [&](const Tensor& images) {
        if (simulated >= kSimulatedImages) return;
        const Stopwatch stopwatch;
        (*file.model)(images);
        simulation_seconds += stopwatch.seconds();
        simulated += images.dim(0);
      });
  result.metrics = run.metrics;
  result.images_per_second = static_cast<double>(run.metrics.images) / run.seconds;
  result.simulated_images_per_second = static_cast<double>(simulated) / simulation_seconds;
  return result;
}

Json Deployment::to_json() const {
  if (!refused.empty()) return {{"refused", refused}};
  Json json = metrics.to_json();
  json["images_per_second"] = images_per_second;
  json["simulated_images_per_second"] = simulated_images_per_second;
  json["bytes"] = bytes;
  return json;
}

}  // namespace qgrad
