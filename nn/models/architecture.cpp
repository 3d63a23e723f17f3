// Building models.
#include "nn/models/architecture.h"

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

}  // namespace qgrad
