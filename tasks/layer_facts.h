// Numbers of a network's layers, and the levels that quantization puts them on.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "nn/module.h"
#include "quant/affine.h"
#include "quant/ranges/histogram.h"

namespace qgrad {

struct TensorFacts {
  std::optional<int> bits;           // null: float
  std::optional<ValueRange> step;    // distance of two levels: the least and the largest of all channels
  bool in_steps = false;             // `levels` and `histogram` are, as where channels have scales of their own
  std::optional<ValueRange> levels;  // the lowest and the highest; without them, and `step`, the grid is not fixed
  std::vector<float> uneven = {};    // all levels, where their distances differ
  Histogram histogram;
  bool of_integers = false;  // every bin of the histogram is of the integer at its beginning
};

struct LayerFacts {
  std::string path, kind;
  std::optional<TensorFacts> weights, input, output;  // those that are looked at
};

// After training: the float network's numbers, of every layer of `quantized`, in the order in which `reference`, the
// float model with its batch norms folded, calls them on one batch of images. Both in evaluation mode.
std::vector<LayerFacts> layer_facts(Module& quantized, Module& reference, const Tensor& images);

// In training: what a model quantizes, in the order in which it does that for these inputs, in evaluation mode. Weights
// of layers are quantized, each on one of the levels, of which the lowest and the highest are those in use; inputs and
// outputs are as they were before, but where there is no level below zero, nothing is below it.
std::vector<LayerFacts> trained_layer_facts(Module& model, Inputs inputs);

// [{"path", "kind", "weights": {..}, "input": {..}, "output": {"bits", "in_steps", "least_step", "largest_step",
// "levels": {"low", "high", "step", "uneven"}, "histogram": {"low", "bin_width", "counts"}}}], with no more than about
// a hundred bins.
Json to_json(const std::vector<LayerFacts>& layers);

}  // namespace qgrad
