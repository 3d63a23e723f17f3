// How layers that are not quantized become operations: a table that programs outside the tree can add to.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>

#include "quant/export/program_builder.h"

namespace qgrad::deploy {

// Emits what a node computes of these tensors, and returns the tensor that holds it. Throws Error with the reason where
// it can not; the caller adds the layer. node.module is the layer; null for an op.
using LayerLowering =
    std::function<int32_t(ProgramBuilder& program, const GraphNode& node, std::span<const int32_t> inputs)>;

// By kind of module, or name of an op that a module with children runs itself. What is not in it: layers of weighted
// sums, rectifiers, and layers that only move numbers, which say by their Effect what they compute. A layer that is
// quantized, and has no integer form of its own, is lowered by these too: in float, then onto its grid.
//   layer_lowerings()["Doubled"] = [](ProgramBuilder& program, const GraphNode& node, auto inputs) {
//     const int32_t x = program.as_float(inputs[0]);
//     return program.emit({.kind = OpKind::add, .inputs = {x, x}}, program.add_float(node));
//   };
std::map<std::string, LayerLowering, std::less<>>& layer_lowerings();

// The one for this layer; throws where there is none.
LayerLowering lowering_of(std::string_view kind, const Effect& effect);

}  // namespace qgrad::deploy
