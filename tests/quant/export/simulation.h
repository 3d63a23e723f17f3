// Running a quantized model and its integer program side by side.
#pragma once

#include "engine/engine.h"
#include "nn/module.h"

namespace qgrad::test {

// How far a run of the engine is from the simulation on the same images, both counted over all layers.
struct Agreement {
  int64_t layers = 0;     // quantized ones that were compared
  int64_t integers = 0;   // their outputs, over all images
  int64_t differing = 0;  // of these
  int64_t logits_differing = 0;
  std::string first;  // the first layer that differs
};
Agreement compare_with_simulation(Module& model, const deploy::Engine& engine, const Tensor& images);

}  // namespace qgrad::test
