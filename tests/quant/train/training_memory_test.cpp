// After its first step a training asks the system for no more memory.
#include "core/memory.h"

#include <nlohmann/json.hpp>
#include "core/ops.h"
#include "core/tape.h"
#include "nn/models/architecture.h"
#include "nn/optim/adam.h"
#include "nn/optim/sgd.h"
#include "quant/train/range_linear.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::test;

TEST_CASE("the pool answers every request of the steps after the first") {
  const bool quantize = GENERATE(false, true), adam = GENERATE(false, true);
  const Config resnet20{{{"class", "resnet20"}}, "", "model"};
  ModulePtr model = Registry<Architecture>::create(resnet20)->build(1);
  std::unique_ptr<Optimizer> optimizer;
  if (adam)
    optimizer = std::make_unique<Adam>(AdamConfig{});
  else
    optimizer = std::make_unique<Sgd>(SgdConfig{.momentum = 0.9f});
  optimizer->add_param_group({.name = "default", .parameters = all_parameters(*model)});
  if (quantize) {
    QuantAwareTrainRangeLinearConfig config;
    config.bits_activations = config.bits_weights = 4;
    QuantAwareTrainRangeLinearQuantizer(config).prepare(model, optimizer.get(), Tensor::zeros({1, 32, 32, 3}));
  }
  model->set_training(true);
  const Tensor images = normal_tensor({4, 32, 32, 3}, 1);
  Tape tape;
  const auto step = [&] {
    optimizer->zero_grad();
    Tensor loss;
    {
      const Tape::Recording recording(tape);
      loss = softmax_cross_entropy((*model)(images), std::vector<int32_t>{0, 1, 2, 3});
    }
    tape.backward(loss);
    optimizer->step();
  };
  pool::trim();
  step();
  const uint64_t misses = pool::stats().misses;
  for (int i = 0; i < 3; ++i) step();
  CHECK(pool::stats().misses == misses);
}
