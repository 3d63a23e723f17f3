// Integer programs on images with labels, and what a quantized checkpoint becomes as a program: the engine's accuracy
// and speed beside the simulation's, and the size of the file.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "apps/metrics.h"
#include "apps/model_file.h"
#include "quant/deploy/engine.h"
#include "quant/deploy/lowering.h"

namespace qgrad {

// The program of a loaded checkpoint, trained with quantization or quantized afterwards. Changes the model, see
// deploy::to_integer_layers. Throws for what has no form in a program, with the layer and the reason.
deploy::Lowered program_of(ModelFile& file);

struct EngineRun {
  Metrics metrics;
  double seconds = 0;  // of the engine alone
};
// `beside` sees every batch too.
EngineRun run_engine(const deploy::Engine& engine, Loader loader, const std::string& label,
                     const std::function<void(const Tensor& images)>& beside = {});

struct Deployment {
  std::string refused;  // why there is no program; empty where there is one
  Metrics metrics;      // of the engine, on the test images
  double images_per_second = 0, simulated_images_per_second = 0;
  int64_t bytes = 0;  // of the program file
  Json to_json() const;
  std::string to_text() const;  // one line
};
Deployment deploy_checkpoint(const std::filesystem::path& checkpoint, const ExperimentData& data,
                             const std::string& label);

}  // namespace qgrad
