// Folding batch norms into the layers before them, for inference.
#pragma once

#include <string>
#include <vector>

#include "nn/graph.h"
#include "nn/module.h"

namespace qgrad {

struct FoldedBatchNorm {
  std::string layer, batch_norm;  // paths
};

// For every Conv2d or Linear whose only consumer is a batch norm (along the graph's edges, never execution order):
//   w *= gamma / sqrt(var + eps) per output channel;  b = beta - gamma * (mean - b) / sqrt(var + eps)
// the layer gets a bias if it had none, and the batch norm becomes Identity. Source: Distiller fold_batch_norms, with
// the edges followed. The graph is out of date afterwards.
std::vector<FoldedBatchNorm> fold_batch_norms(ModulePtr& model, const Graph& graph);

}  // namespace qgrad
