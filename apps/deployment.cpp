// Lowering, running and timing a checkpoint.
#include "apps/deployment.h"

#include <fmt/format.h>

#include "apps/stopwatch.h"
#include "quant/deploy/file.h"
#include "quant/deploy/quant_aware.h"
#include "quant/post_train_linear.h"

namespace qgrad {
namespace {

// The simulation is timed on so many images: it is the slower one.
constexpr int64_t kSimulatedImages = 1000;

}  // namespace

deploy::Lowered program_of(ModelFile& file) {
  const std::vector<Tensor> inputs = example_inputs(file.experiment.model);
  check(inputs.size() == 1, "a program has one input, but the model takes {}", inputs.size());
  const Tensor& example = inputs[0];
  if (!dynamic_cast<PostTrainLinearQuantizer*>(file.quantizer.get())) deploy::to_integer_layers(file.model, example);
  return deploy::lower(*file.model, example);
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

Deployment deploy_checkpoint(const std::filesystem::path& checkpoint, const ExperimentData& data,
                             const std::string& label) {
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

std::string Deployment::to_text() const {
  if (!refused.empty()) return fmt::format("no program: {}", refused);
  return fmt::format("program    top1 {:.2f}  top5 {:.2f}  loss {:.5f}  ({} bytes; {:.0f} images/s, simulated {:.0f})",
                     metrics.top1(), metrics.top5(), metrics.loss(), bytes, images_per_second,
                     simulated_images_per_second);
}

}  // namespace qgrad
