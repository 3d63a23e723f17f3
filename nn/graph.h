// The graph of one forward pass: which module feeds which.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nn/module.h"

namespace qgrad {

// A call of a leaf module (one without children; its parameters' transforms belong to it), or an op that a module with
// children runs itself.
struct GraphNode {
  // The module's path, "layer1.0.relu1", and "layer1.0.relu1#1" for its second call. An op has its module's path and
  // its own name: "layer1.0:add", then "layer1.0:add#1"; a wrapper shares the path of what it wraps, so its own ops
  // show as "relu1:fake_quant" beside "relu1". The model's inputs are "input", "input1", ..
  std::string name;
  std::string kind;          // the module's kind, the op's name, or "input"
  Effect effect;             // the module's, or the op's
  Module* module = nullptr;  // null for ops of composites and for inputs
  int call = 0;              // the number behind '#'
  Shape output_shape;
  std::vector<size_t> preds;  // in the order of the inputs; weights and constants are not listed
  std::vector<size_t> succs;  // every consumer once per use
  bool is_positive = false;   // known to give no negative number, by its effect and by what it reads

  bool is_input() const { return kind == "input"; }
  std::string path() const { return name.substr(0, name.find_first_of(":#")); }  // of the module
};

// A snapshot in execution order: names stay valid across rewrite(), module pointers do not. Identity modules, which do
// nothing, are not in it.
class Graph {
 public:
  // Runs the model once, in evaluation mode and without touching its state, on example inputs.
  static Graph trace(Module& model, std::span<const Tensor> example);
  static Graph trace(Module& model, const Tensor& example) { return trace(model, std::span(&example, 1)); }

  const std::vector<GraphNode>& nodes() const { return nodes_; }
  const GraphNode& operator[](size_t i) const { return nodes_[i]; }
  const GraphNode* find(std::string_view name) const;  // null when there is none
  size_t output() const { return output_; }            // the node that made the model's output

  // Whether it is a module's only call.
  bool called_once(const GraphNode& node) const;
  // The module that alone consumes what this one gives, and consumes nothing else, each of them called once; or null.
  const GraphNode* sole_successor(const GraphNode& node) const;
  // The only consumer of a node, or null; to be the model's output counts as a use.
  const GraphNode* only_successor(const GraphNode& node) const;
  // What a layer of weighted sums, or a product of matrices, multiplies in this call; 0 for all others.
  double multiplications(const GraphNode& node) const;

 private:
  std::vector<GraphNode> nodes_;
  size_t output_ = 0;
};

}  // namespace qgrad
