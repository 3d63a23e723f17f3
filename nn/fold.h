// Folding batch norms into the layers before them, for inference.
#pragma once

#include <string>
#include <vector>

#include "nn/graph.h"
#include "nn/layers/norm.h"
#include "nn/module.h"

namespace qgrad {

// A WeightedSum's; throws for other modules.
struct LayerParameters {
  Parameter &weight, &bias;
};
LayerParameters layer_parameters(Module& layer);
// Zeros where the layer has no bias.
void give_bias(const LayerParameters& layer);

// A batch norm goes with the layer before it: BatchNorm2d with weighted sums of images, BatchNorm1d with those of
// vectors.
bool belong_together(Module& layer, Module& norm);

struct FoldedBatchNorm {
  std::string layer, batch_norm;  // paths
};

// Every WeightedSum whose only consumer is a batch norm, along the graph's edges, never execution order.
std::vector<FoldedBatchNorm> foldable_batch_norms(const Graph& graph);

// Changes a layer into what it and its batch norm compute in evaluation mode, and gives it a bias if it had none:
//   w *= gamma / sqrt(var + eps) per output channel;  b = beta - gamma * (mean - b) / sqrt(var + eps)
void fold_batch_norm(Module& layer, const BatchNorm& norm);

// Folds all that are foldable, and puts Identity in the batch norms' places. Source: Distiller fold_batch_norms, with
// the edges followed. The graph is out of date afterwards.
std::vector<FoldedBatchNorm> fold_batch_norms(ModulePtr& model, const Graph& graph);

// A batch norm of images as the depthwise 1x1 convolution that it is in evaluation mode, for one that no layer can take
// up: before a convolution, or behind a sum.
ModulePtr as_convolution(const BatchNorm& norm);
// Puts these in the places of all batch norms of images that are left.
void batch_norms_to_convolutions(ModulePtr& model);

}  // namespace qgrad
