// Models and batches of benchmarks.
#include "apps/bench/workload.h"

#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "core/memory.h"
#include "core/ops.h"
#include "nn/models/architecture.h"
#include "tasks/experiment.h"
#include "tasks/quantization.h"

namespace qgrad {

std::shared_ptr<ModelOptions> add_model_options(CLI::App& command) {
  auto options = std::make_shared<ModelOptions>();
  command.add_option("--model", options->model, "the model's class")
      ->check(CLI::IsMember(Registry<Architecture>::instance().names()))
      ->capture_default_str();
  command.add_option("--batch", options->batch, "images per batch")
      ->check(whole_number(1, 65536))
      ->capture_default_str();
  command.add_option("--quantizer", options->quantizer, "none, or a JSON config whose \"quantizer\" is used")
      ->capture_default_str();
  return options;
}

std::optional<Config> read_quantizer(const ModelOptions& options) {
  if (options.quantizer == "none") return std::nullopt;
  return Config::read(options.quantizer).at("quantizer");
}

Workload::Workload(const ModelOptions& options, const std::optional<std::string>& checkpoint) {
  const Config config{{{"class", options.model}}, "", "model"};
  const auto architecture = Registry<Architecture>::create(config);
  const Shape image = architecture->image_shape();
  model = build_model(config, 1, checkpoint);
  images = normal_tensor({options.batch, image[0], image[1], image[2]}, "bench images");
  const int64_t classes = architecture->make()->call(architecture->example()).dim(-1);
  for (int64_t i = 0; i < options.batch; ++i) labels.push_back(static_cast<int32_t>(i % classes));
}

void Workload::prepare(const Config& quantizer_config) {
  quantizer = Registry<Quantizer>::create(quantizer_config);
  quantizer_class = quantizer_config.at("class").json();
  const Shape& s = images.shape();
  quantizer->prepare(model, optimizer.get(), Tensor::zeros({1, s[1], s[2], s[3]}));
}

Tensor Workload::forward() {
  const Tape::Recording recording(tape);
  return softmax_cross_entropy((*model)(images), labels);
}

void Workload::step() {
  optimizer->zero_grad();
  tape.backward(forward());
  optimizer->step();
}

std::unique_ptr<Workload> training_workload(const ModelOptions& options) {
  const auto quantizer = read_quantizer(options);
  if (quantizer && is_post_training(*quantizer))
    config_error(quantizer->where(), "a post-training quantizer does not train; use `qgrad bench inference`");
  auto w = std::make_unique<Workload>(options);
  w->optimizer = Registry<Optimizer>::create(
      {{{"class", "SGD"}, {"lr", 0.01}, {"momentum", 0.9}, {"weight_decay", 0.0001}}, "", "optimizer"});
  w->optimizer->add_param_group({.name = "default", .parameters = all_parameters(*w->model)});
  if (quantizer) w->prepare(*quantizer);
  w->model->set_training(true);
  w->step();
  return w;
}

Json describe(const ModelOptions& options, const Workload& workload) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {{"model", options.model},
          {"quantizer", workload.quantizer_class},
          {"peak_rss_mib", static_cast<double>(usage.ru_maxrss) / 1024},
          {"pool_peak_mib", static_cast<double>(pool::stats().peak_bytes_in_use) / (1024 * 1024)}};
}

}  // namespace qgrad
