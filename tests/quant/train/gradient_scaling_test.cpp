// Gradients scaled by the distance to the level: the formula, and every quantizer that trains.
#include "quant/train/gradient_scaling.h"

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "docs/quantizers/one_layer.h"
#include "nn/layers/activation.h"
#include "nn/optim/sgd.h"
#include "quant/small_net.h"
#include "quant/train/lsq.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/values.h"
#include "support/weighted_sum.h"

namespace gradient_scaling_test {

using namespace qgrad;
using Floats = std::vector<float>;

namespace {

Tensor tensor_of(const Shape& shape, const Floats& values) { return Tensor::from(shape, values); }

struct Step {
  std::vector<uint32_t> outputs;
  Floats gradient;  // of the convolution's weights
};
Step step(const std::string& quantizer, float strength) {
  ModulePtr model = test::small_net();
  golden::quantizer_of(
      {{"class", quantizer}, {"bits_activations", 4}, {"bits_weights", 4}, {"gradient_scaling", strength}})
      ->prepare(model, nullptr, test::small_input());
  Tape tape;
  const Tape::Recording recording(tape);
  const Tensor y = (*model)(test::small_input());
  const int32_t labels[] = {0, 1};
  tape.backward(softmax_cross_entropy(y, labels));
  return {test::bits(y), test::values(golden::parameter_at(*model, "conv.weight").raw().grad())};
}

}  // namespace

TEST_CASE("a gradient grows with the distance on the side that it sends a number away from") {
  const Tensor x = tensor_of({2, 2}, {1.3f, 0.9f, -0.2f, 7});
  const Tensor y = tensor_of({2, 2}, {1, 1, 0, 2});
  for (const Floats& steps : {Floats{2}, Floats{2, 4}, Floats{}}) {
    Tensor numbers = x.clone();
    Tape tape;
    const Tape::Recording recording(tape);
    numbers.set_requires_grad(true);
    const auto levels = std::make_shared<ToLevels>();
    const Tensor same = with_scaled_gradient(numbers, 0.5f, levels);
    CHECK(test::bits(same) == test::bits(x));
    *levels = {y, steps};
    tape.backward(test::weighted_sum(same, tensor_of({2, 2}, {1, 1, -2, -1})));
    // Distances of 0.6, -0.1 or -0.2 times two, -0.4, and many steps, of which half a step counts.
    const float second = steps.size() == 1 ? 0.9f : 0.8f;
    const Floats expected = steps.empty() ? Floats{1, 1, -2, -1} : Floats{1.25f, second, -2.4f, -0.75f};
    CHECK(golden::difference(numbers.grad(), tensor_of({2, 2}, expected)) == "");
  }
}

TEST_CASE("what a quantization learns has its own gradient, whatever becomes of that of numbers") {
  for (const char* quantizer :
       {"LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer", "PACTQuantizer", "N2UQQuantizer"}) {
    INFO(quantizer);
    const auto gradients = [&](float strength) {
      OneLayer layer(
          {{"class", quantizer}, {"bits_weights", 2}, {"bits_activations", 2}, {"gradient_scaling", strength}},
          std::make_unique<ReLU6>());
      Quantization& quantize = layer.activations();
      Tensor x = test::normal_tensor({1, 500}, 5, 2);
      Tape tape;
      const Tape::Recording recording(tape);
      x.set_requires_grad(true);
      tape.backward(test::weighted_sum(quantize(x), test::normal_tensor({1, 500}, 6)));
      Floats learned;
      for (const Parameter* p : quantize.parameters())
        if (p->defined())
          for (const float g : p->raw().grad().data()) learned.push_back(g);
      return std::pair(learned, test::values(x.grad()));
    };
    const auto [plain, of_plain] = gradients(0);
    const auto [scaled, of_scaled] = gradients(0.5f);
    CHECK_FALSE(plain.empty());
    CHECK(plain == scaled);
    if (quantizer != std::string("N2UQQuantizer")) CHECK(of_plain != of_scaled);
  }
}

TEST_CASE("every quantizer that trains scales gradients when asked, and gives the same numbers") {
  for (const char* quantizer : {"QuantAwareTrainRangeLinearQuantizer", "PACTQuantizer", "WRPNQuantizer", "LSQQuantizer",
                                "LSQPlusQuantizer", "TQTQuantizer", "DorefaQuantizer", "APoTQuantizer"}) {
    INFO(quantizer);
    const Step plain = step(quantizer, 0), scaled = step(quantizer, 0.5f);
    CHECK(plain.outputs == scaled.outputs);
    CHECK(plain.gradient != scaled.gradient);
  }
}

TEST_CASE("the distance of weights is in steps between levels, around zero too") {
  const Tensor w = tensor_of({4}, {0.3f, -0.9f, 1.6f, 0.1f});
  for (const bool midrise : {false, true}) {
    LSQQuantization quantize(3, Role::weights, {.midrise = midrise});
    quantize.start_from(w);
    const float s = quantize.step.raw().item();
    quantize.set_gradient_scaling(1);
    Tensor x = w.clone();
    Tape tape;
    const Tape::Recording recording(tape);
    x.set_requires_grad(true);
    const Tensor y = quantize(x);
    tape.backward(sum(y));
    const float distance = std::clamp((w.data()[0] - y.data()[0]) / s, -0.5f, 0.5f);
    CHECK(x.grad().data()[0] == Approx(1 + distance));
  }
}

}  // namespace gradient_scaling_test
