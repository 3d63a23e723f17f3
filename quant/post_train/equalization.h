// Cross-layer equalization: weights of neighbouring layers rescaled so that their channels have equal ranges, which a
// quantizer with one scale per tensor needs. The float model computes what it did before.
#pragma once

#include <string>
#include <vector>

#include "nn/graph.h"
#include "nn/module.h"

namespace qgrad {

struct EqualizedPair {
  std::string first, second;  // paths
};

// For every Conv2d -> Conv2d and Linear -> Linear, with or without a ReLU between them, where each is called once and
// has the next one as its only consumer: channel i between them is scaled by 1/s_i behind the first layer and by s_i
// before the second, s_i = sqrt(r1_i / r2_i), where r1_i and r2_i are the largest magnitudes of the weights of that
// channel in the two layers; a ReLU lets positive factors through. Channels without weights are left alone. A bias is
// divided with its channel, and must not widen the range of all activations: a channel whose bias is more than eight
// times as large beside its weights as in the layer's median channel counts as one with larger weights, that would
// make it eight times. Where most channels have no bias, the layer's largest bias and weight take the median's place.
// Chains of pairs are gone over until no factor differs from 1 by more than a thousandth, at most 1000 times (a chain
// of 19 layers takes 100 to 150), so that a second call changes nothing.
// (Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.1)
// Batch norms must have been folded; the graph may be from before, modules that became Identity are passed through.
// Activations change, so statistics must be collected afterwards. Returns the pairs whose weights changed.
std::vector<EqualizedPair> equalize_cross_layer(Module& model, const Graph& graph);

}  // namespace qgrad
