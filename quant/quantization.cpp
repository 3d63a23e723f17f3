// Freezing.
#include "quant/quantization.h"

namespace qgrad {

void Quantization::set_frozen(bool frozen) {
  frozen_ = frozen;
  for (Parameter* p : parameters())
    if (p->defined()) p->raw().set_requires_grad(!frozen);
}

std::vector<float> Quantization::integer_scale(const Tensor& quantized) const {
  if (!quantized.grid()) return {};
  return {quantized.grid()->scale};
}

}  // namespace qgrad
