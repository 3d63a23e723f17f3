// Evaluating models on large batches.
#pragma once

#include "nn/module.h"

namespace qgrad {

// Images whose activations fit the second-level cache together, as a rule.
inline constexpr int64_t kInferenceBlock = 8;

// model(images) of a model that computes every image by itself (no ranges from the values of a batch, no batch norm in
// training): blocks of `block` images go through the whole model one by one, each on one thread, so that activations
// stay in that thread's cache and threads need not wait for each other at every layer. The same bits. Nothing is
// recorded for gradients; an observer would see only the calls on its own thread.
Tensor forward_in_blocks(Module& model, const Tensor& images, int64_t block);

}  // namespace qgrad
