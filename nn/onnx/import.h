// ONNX models as networks of ours.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/config.h"
#include "nn/module.h"
#include "nn/onnx/onnx_file.h"

namespace qgrad::onnx {

// In the dimensions of an imported value it stands for the size of the batch, and a multiple of it for that multiple:
// a prime, so that shape arithmetic of whole numbers can go on with it.
inline constexpr int64_t kBatch = 1'000'000'007;

struct ImportOptions {
  // Sizes of one example, in the file's order, of inputs of which the file does not say them; "" names any input.
  std::map<std::string, std::vector<int64_t>> sizes;
  // Inputs whose values are known: they become constants.
  std::map<std::string, Constant> known;
  bool any_batch = true;  // false: the batch has the size that the file says
};

// What goes in or comes out.
struct Port {
  std::string name;
  std::vector<int64_t> dims;  // in the file
  std::vector<int> order;     // our dimension i is the file's dimension order[i]: 0, 2, 3, 1 of images
};

// A value in the file's order of dimensions, in ours, and the other way round.
Tensor from_file(const Tensor& theirs, const Port& port);
Tensor to_file(const Tensor& ours, const Port& port);

struct Imported {
  Config model;                              // {"class": "network", ..}
  std::map<std::string, Tensor> parameters;  // and buffers, by path, in our layout
  std::vector<Port> inputs, outputs;

  ModulePtr build() const;  // with these parameters
};

// The network that computes what the model computes. Where a constant, a shape or a pattern of nodes means a layer of
// ours, it becomes that layer: batch norms stay batch norms, x * sigmoid(x) is a SiLU. Values are kept with channels
// last where that saves transpositions. Throws Error naming node, operator and opset for what can not be imported,
// and where values would take more than 4 GiB at a time.
Imported import_model(Model model, const ImportOptions& options);

}  // namespace qgrad::onnx
