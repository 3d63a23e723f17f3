// Initial values of parameters, drawn from streams named by the seed and the parameter's path, so that one layer's
// numbers depend on no other layer.
#pragma once

#include <cstdint>

#include "nn/module.h"

namespace qgrad {

// How convolutions start. Linear layers start like PyTorch's own: uniform in +-1/sqrt(in), bias too. Embeddings are
// N(0, 1). Other parameters (batch norms') keep what their constructor gave them.
enum class ConvInit {
  kaiming_fan_out,  // N(0, sqrt(2 / (kh * kw * out))), bias 0: He et al. 2015, as in Distiller's residual nets
  uniform_fan_in,   // uniform in +-1/sqrt(kh * kw * in / groups), bias too: PyTorch's default
};

// What Module::initialize draws with.
class Initializer {
 public:
  Initializer(uint64_t seed, ConvInit convolutions) : seed_(seed), convolutions_(convolutions) {}
  ConvInit convolutions() const { return convolutions_; }
  void normal(Parameter& parameter, double deviation) const;
  void uniform(Parameter& parameter, double bound) const;  // in +-bound; nothing where it is absent

 private:
  uint64_t seed_;
  ConvInit convolutions_;
};

void initialize(Module& model, uint64_t seed, ConvInit conv);

}  // namespace qgrad
