// The parts of a network that reconstruction goes through.
#pragma once

#include <cstddef>
#include <vector>

#include "nn/graph.h"

namespace qgrad {

// A part of a graph that one tensor enters and one leaves, nodes in the order of execution.
struct ReconstructionUnit {
  size_t entry = 0;  // the node that gives what enters
  std::vector<size_t> nodes;
  size_t exit() const { return nodes.back(); }
};
// The smallest such parts, one after another, that hold a layer with weights each: single layers in a chain, blocks
// where branches meet. `weighted`: by node, whether it is such a layer; `attached`: whether it is computed within the
// node before it, and so belongs to that one's unit.
std::vector<ReconstructionUnit> reconstruction_units(const Graph& graph, const std::vector<bool>& weighted,
                                                     const std::vector<bool>& attached);
// Units one after another that give tensors of one shape become one.
std::vector<ReconstructionUnit> joined_stages(std::vector<ReconstructionUnit> units, const Graph& graph);
// Each layer with weights of a unit by itself, with what is attached to it, and with what lies between it and the layer
// or sum before it, as a pooling, which may be in the parts of several layers.
std::vector<ReconstructionUnit> layers_of(const ReconstructionUnit& unit, const Graph& graph,
                                          const std::vector<bool>& weighted, const std::vector<bool>& attached);

}  // namespace qgrad
