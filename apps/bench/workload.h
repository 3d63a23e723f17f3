// What the benchmarks of whole models run: a model and a batch of synthetic images that lies in memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/bench/bench.h"
#include "core/config.h"
#include "core/tape.h"
#include "nn/module.h"
#include "nn/optim/optimizer.h"
#include "quant/quantizer.h"

namespace qgrad {

struct ModelOptions {
  std::string model = "resnet20";
  int64_t batch = 128;
  std::string quantizer = "none";
};

std::shared_ptr<ModelOptions> add_model_options(CLI::App& command);
std::optional<Config> read_quantizer(const ModelOptions& options);

// A float model and a batch for it.
struct Workload {
  ModulePtr model;
  std::unique_ptr<Quantizer> quantizer;
  std::string quantizer_class = "none";
  std::unique_ptr<Optimizer> optimizer;
  Tensor images;
  std::vector<int32_t> labels;
  Tape tape;

  explicit Workload(const ModelOptions& options, const std::optional<std::string>& checkpoint = {});
  void prepare(const Config& quantizer_config);

  Tensor forward();  // recorded: the loss
  void step();       // forward, backward, and the optimizer's step
};

// Ready to train with the options' quantizer, a first step done. A post-training quantizer is a ConfigError.
std::unique_ptr<Workload> training_workload(const ModelOptions& options);

// The model, its quantizer, and the peak of memory.
Json describe(const ModelOptions& options, const Workload& workload);

}  // namespace qgrad
