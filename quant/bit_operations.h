// Bit operations: what a quantized network costs in arithmetic, as papers count it.
#pragma once

#include <string>
#include <vector>

#include "quant/quantizer.h"

namespace qgrad {

// A layer of weighted sums under a quantizer. A number in float has 32 bits.
struct LayerWork {
  std::string layer;
  double multiplications = 0;  // for one example
  int bits_weights = 32;
  InputBits input{32, ""};

  // Multiplications x bits of weights x bits of what they meet (Baskin et al., "UNIQ", 2018; van Baalen et al.,
  // "Bayesian Bits", 2020).
  double bit_operations() const { return multiplications * bits_weights * input.bits; }
};

// graph: of a float model that is still there, traced with one example. resolved: of a quantizer that prepared another
// one.
std::vector<LayerWork> work_of_layers(const Graph& graph, const std::vector<Quantizer::Resolved>& resolved);

}  // namespace qgrad
