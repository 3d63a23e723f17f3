// The small nets of the golden files as modules: children by their node's name, parameters from PyTorch's layouts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "nn/module.h"
#include "support/golden.h"

namespace qgrad::golden {

// One module of a node list: {"type": "Conv2d", "args": {"in": 2, "out": 3, "kernel": 3}, ..}. Dimensions of images
// (Concat's dim) are translated from NCHW when on_images.
ModulePtr build_layer(const Json& node, bool on_images);

// A module that runs `nodes` in order. Its inputs are x0, x1, ..; the last node is its output. With "params", these are
// loaded too (every one must exist, and every parameter and buffer of the net must be given).
ModulePtr build_net(const Json& net);

// Parameters and buffers by path, from PyTorch's layouts.
void load_params(Module& net, const Json& params);
// "" when every tensor of `expected` equals the parameter or buffer at its path, else the first difference.
std::string params_difference(Module& net, const Json& expected, Tolerance tolerance = {});

// One forward's inputs: a list of tensors, or one tensor. Rank 4 is turned from NCHW into NHWC.
std::vector<Tensor> net_inputs(const Json& inputs);

}  // namespace qgrad::golden
