// What a command would do, for --dry-run.
#pragma once

#include <string>

#include "apps/command.h"
#include "nn/module.h"
#include "quant/quantizer.h"
#include "tasks/experiment.h"

namespace qgrad {

// A line for every layer of resolved_layers(): its bits, and the override that gave them.
std::string layer_bits_text(const Json& layers, const Json& quantizer);

// `about`, and the model with what each layer gets. `quantizer`: what prepared it, by its config; null: none.
void print_plan(const CommonOptions& options, Module& model, const Quantizer* quantizer, const Json& config,
                Json about);
// The same of a quantizer that works after training, and of the experiment's model: what layers get, but for their
// ranges.
void print_plan(const CommonOptions& options, const ExperimentConfig& experiment, const Config& quantizer,
                const Task& task, Json about);

}  // namespace qgrad
