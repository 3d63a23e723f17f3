// A net with every activation that training quantizers take, and its input; the same numbers in every run.
#pragma once

#include <memory>

#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "support/values.h"

namespace qgrad::test {

inline ModulePtr small_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)));
  net->add("relu", std::make_unique<ReLU>());
  net->add("relu6", std::make_unique<ReLU6>());
  net->add("sigmoid", std::make_unique<Sigmoid>());
  net->add("tanh", std::make_unique<Tanh>());
  net->add("flatten", std::make_unique<Flatten>());
  net->add("fc", std::make_unique<Linear>(64, 5));
  for (Parameter* p : all_parameters(*net)) p->set_raw(normal_tensor(p->raw().shape(), 7, 0.3f));
  return net;
}

inline Tensor small_input() { return normal_tensor({2, 4, 4, 3}, 3); }

}  // namespace qgrad::test
