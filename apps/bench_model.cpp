// qgrad bench train-step and inference: whole models on a fixed synthetic batch that lies in memory.
#include <fmt/format.h>
#include <sys/resource.h>

#include "apps/bench.h"
#include "apps/experiment.h"
#include "apps/quantization.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/tape.h"
#include "nn/optim.h"

namespace qgrad {
namespace {

struct ModelOptions {
  std::string model = "resnet20";
  int64_t batch = 128;
  std::string quantizer = "none";
};

std::shared_ptr<ModelOptions> add_model_options(CLI::App& command) {
  auto options = std::make_shared<ModelOptions>();
  command.add_option("--model", options->model, "the model's class")
      ->check(CLI::IsMember(Registry<Architecture>::instance().names()))
      ->capture_default_str();
  command.add_option("--batch", options->batch, "images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
  command.add_option("--quantizer", options->quantizer, "none, or a JSON config whose \"quantizer\" is used")
      ->capture_default_str();
  return options;
}

std::optional<Config> read_quantizer(const ModelOptions& options) {
  if (options.quantizer == "none") return std::nullopt;
  return Config::read(options.quantizer).at("quantizer");
}

// A float model and a batch for it.
struct Workload {
  ModulePtr model;
  std::unique_ptr<Quantizer> quantizer;
  std::unique_ptr<Optimizer> optimizer;
  Tensor images;
  std::vector<int32_t> labels;
  Tape tape;

  explicit Workload(const ModelOptions& options) {
    const Config config{{{"class", options.model}}, "", "model"};
    const auto architecture = Registry<Architecture>::create(config);
    const Shape image = architecture->image_shape();
    model = architecture->build(1);
    images = normal_tensor({options.batch, image[0], image[1], image[2]}, "bench images");
    for (int64_t i = 0; i < options.batch; ++i) labels.push_back(static_cast<int32_t>(i % architecture->classes()));
  }

  void prepare(const Config& quantizer_config) {
    quantizer = Registry<Quantizer>::create(quantizer_config);
    const Shape& s = images.shape();
    quantizer->prepare(model, optimizer.get(), Tensor::zeros({1, s[1], s[2], s[3]}));
  }

  void step() {
    optimizer->zero_grad();
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = softmax_cross_entropy((*model)(images), labels);
    }
    tape.backward(loss);
    optimizer->step();
  }
};

// What is the same for both cases.
Json describe(const ModelOptions& options, const Workload& workload, const std::optional<Config>& quantizer) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"model", options.model},
          {"quantizer", workload.quantizer ? quantizer->at("class").value : Json("none")},
          {"peak_rss_mib", static_cast<double>(usage.ru_maxrss) / 1024},
          {"pool_peak_mib", static_cast<double>(pool::stats().peak_bytes_in_use) / (1024 * 1024)}};
}

void train_step(const ModelOptions& options, const BenchOptions& bench_options) {
  const auto quantizer = read_quantizer(options);
  if (quantizer && is_post_training(*quantizer))
    config_error(quantizer->where(), "a post-training quantizer does not train; use `qgrad bench inference`");
  Workload w(options);
  w.optimizer = Registry<Optimizer>::create(
      {{{"class", "SGD"}, {"lr", 0.01}, {"momentum", 0.9}, {"weight_decay", 0.0001}}, "", "optimizer"});
  w.optimizer->add_param_group({.name = "default", .parameters = all_parameters(*w.model)});
  if (quantizer) w.prepare(*quantizer);
  w.model->set_training(true);
  w.step();
  const uint64_t misses = pool::stats().misses;
  run_bench({.name = "train-step",
             .batch = options.batch,
             .unit = "images/s",
             .work = static_cast<double>(options.batch),
             .run = [&] { w.step(); },
             .details =
                 [&](double) {
                   Json fields = describe(options, w, quantizer);
                   fields["pool_misses_after_first_step"] = pool::stats().misses - misses;
                   return fields;
                 }},
            bench_options);
}

void inference(const ModelOptions& options, const BenchOptions& bench_options) {
  std::optional<Config> quantizer = read_quantizer(options);
  Workload w(options);
  w.model->set_training(false);
  if (quantizer) {
    const bool post_training = is_post_training(*quantizer);
    if (post_training)
      quantizer->value["model_activation_stats"] =
          stats_to_json(collect_quant_stats(*w.model, [&] { (*w.model)(w.images); }));
    w.prepare(*quantizer);
    if (!post_training) {  // ranges that follow the data need to have seen some
      w.model->set_training(true);
      (*w.model)(w.images);
    }
    w.model->set_training(false);
  }
  run_bench({.name = "inference",
             .batch = options.batch,
             .unit = "images/s",
             .work = static_cast<double>(options.batch),
             .run = [&] { (*w.model)(w.images); },
             .details = [&](double) { return describe(options, w, quantizer); }},
            bench_options);
}

void add_model_bench(CLI::App& bench, const char* name, const char* help,
                     void (*run)(const ModelOptions&, const BenchOptions&)) {
  CLI::App& command = *bench.add_subcommand(name, help);
  const auto bench_options = add_bench_options(command);
  const auto options = add_model_options(command);
  command.callback([=] { run(*options, *bench_options); });
}

}  // namespace

void add_model_benches(CLI::App& bench) {
  add_model_bench(bench, "train-step", "images/s of forward, loss, backward and SGD on one fixed batch", train_step);
  add_model_bench(
      bench, "inference",
      "images/s of the forward pass in evaluation mode; post-training quantizers are calibrated on the batch",
      inference);
}

}  // namespace qgrad
