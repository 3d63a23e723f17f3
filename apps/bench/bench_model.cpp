// qgrad bench train-step and inference: whole models on a fixed synthetic batch that lies in memory.
#include <nlohmann/json.hpp>

#include "apps/bench/bench.h"
#include "apps/bench/workload.h"
#include "core/memory.h"
#include "engine/engine.h"
#include "nn/fold.h"
#include "nn/graph.h"
#include "nn/inference.h"
#include "quant/export/lowering.h"
#include "tasks/experiment.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

struct InferenceOptions {
  std::optional<std::string> checkpoint;
  bool fold = false, program = false;
  std::vector<int> integer;  // bits of weights and activations; empty: no integer program
};

void train_step(const ModelOptions& options, const BenchOptions& bench_options) {
  const auto w = training_workload(options);
  const uint64_t misses = pool::stats().misses;
  run_bench({.name = "train-step",
             .batch = options.batch,
             .unit = "images/s",
             .work = static_cast<double>(options.batch),
             .run = [&] { w->step(); },
             .details =
                 [&](double) {
                   Json fields = describe(options, *w);
                   fields["pool_misses_after_first_step"] = pool::stats().misses - misses;
                   return fields;
                 }},
            bench_options);
}

// The quantizer of the options, with the bits of --integer; PostTrainLinearQuantizer where none is named.
std::optional<Config> inference_quantizer(const ModelOptions& options, const InferenceOptions& inference) {
  std::optional<Config> quantizer = read_quantizer(options);
  if (inference.integer.empty()) return quantizer;
  if (!quantizer)
    quantizer = Config{{{"class", "PostTrainLinearQuantizer"}, {"per_channel_wts", true}}, "", "quantizer"};
  if (!is_post_training(*quantizer)) config_error(quantizer->where(), "--integer wants a post-training quantizer");
  quantizer->json()["bits_weights"] = inference.integer[0];
  quantizer->json()["bits_activations"] = inference.integer[1];
  return quantizer;
}

void run_inference(const ModelOptions& options, const InferenceOptions& inference, const BenchOptions& bench_options) {
  std::optional<Config> quantizer = inference_quantizer(options, inference);
  Workload w(options, inference.checkpoint);
  w.model->set_training(false);
  const Shape& s = w.images.shape();
  const Tensor example = Tensor::zeros({1, s[1], s[2], s[3]});
  if (inference.fold || inference.program) fold_batch_norms(w.model, Graph::trace(*w.model, example));
  if (quantizer) {
    const bool post_training = is_post_training(*quantizer);
    if (post_training)
      quantizer->json()["model_activation_stats"] =
          stats_to_json(collect_quant_stats(*w.model, [&] { (*w.model)(w.images); }));
    w.prepare(*quantizer);
    if (!post_training) {  // ranges that follow the data need to have seen some
      w.model->set_training(true);
      (*w.model)(w.images);
    }
    w.model->set_training(false);
  }
  std::optional<deploy::Engine> engine;
  if (!inference.integer.empty() || inference.program) engine.emplace(deploy::lower(*w.model, example).program);
  std::vector<float> output(engine ? static_cast<size_t>(options.batch * engine->output_count()) : 0);
  run_bench({.name = "inference",
             .batch = options.batch,
             .unit = "images/s",
             .work = static_cast<double>(options.batch),
             .run =
                 [&] {
                   if (engine)
                     engine->run(w.images.data(), output);
                   else if (!quantizer && options.batch > kInferenceBlock)
                     forward_in_blocks(*w.model, w.images, kInferenceBlock);
                   else
                     (*w.model)(w.images);
                 },
             .details =
                 [&](double) {
                   Json fields = describe(options, w);
                   fields["folded"] = inference.fold;
                   fields["program"] = engine.has_value();
                   fields["integer"] = inference.integer;
                   return fields;
                 }},
            bench_options);
}

}  // namespace

void add_model_benches(CLI::App& bench) {
  CLI::App& train =
      *bench.add_subcommand("train-step", "images/s of forward, loss, backward and SGD on one fixed batch");
  const auto train_bench = add_bench_options(train);
  const auto train_model = add_model_options(train);
  train.callback([=] { train_step(*train_model, *train_bench); });

  CLI::App& inference = *bench.add_subcommand(
      "inference",
      "images/s of the forward pass in evaluation mode; post-training quantizers are calibrated on the batch");
  const auto inference_bench = add_bench_options(inference);
  const auto inference_model = add_model_options(inference);
  const auto options = std::make_shared<InferenceOptions>();
  inference.add_option("--checkpoint", options->checkpoint, "trained parameters; default: random ones");
  inference.add_flag("--fold", options->fold, "fold batch norms into the layers before them first");
  inference.add_flag("--program", options->program,
                     "run the model's program, as the C interface does; without a "
                     "quantizer in float, batch norms folded");
  inference
      .add_option("--integer", options->integer,
                  "W,A: run the integer program of the model quantized to so many bits of weights and activations")
      ->delimiter(',')
      ->expected(2)
      ->check(whole_number(2, 8));
  inference.callback([=] { run_inference(*inference_model, *options, *inference_bench); });
}

}  // namespace qgrad
