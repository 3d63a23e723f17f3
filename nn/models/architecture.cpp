// Building models and counting what they cost.
#include "nn/models/architecture.h"

#include "nn/conv.h"
#include "nn/graph.h"
#include "nn/linear.h"

namespace qgrad {

ModulePtr Architecture::build(uint64_t seed) const {
  ModulePtr model = make();
  initialize(*model, seed, conv_init());
  return model;
}

std::vector<Tensor> Architecture::example() const {
  const Shape image = image_shape();
  return {Tensor::zeros({1, image[0], image[1], image[2]})};
}

int64_t count_parameters(Module& model) {
  int64_t count = 0;
  for (const Parameter* p : all_parameters(model)) count += p->raw().numel();
  return count;
}

int64_t count_macs(Module& model, const Shape& example) {
  int64_t macs = 0;
  const Graph graph = Graph::trace(model, Tensor::zeros(example));
  for (const GraphNode& node : graph.nodes()) {
    if (const auto* conv = dynamic_cast<const Conv2d*>(node.module)) {
      const Conv2dConfig& c = conv->config();
      macs += node.output_shape.numel() * c.kernel_h * c.kernel_w * c.in / c.options.groups;
    } else if (const auto* linear = dynamic_cast<const Linear*>(node.module)) {
      macs += node.output_shape.numel() * linear->weight.raw().dim(0);
    }
  }
  return macs;
}

}  // namespace qgrad
