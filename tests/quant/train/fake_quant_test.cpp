// Fake quantization with tracked ranges: golden vectors, the switches, and use before training.
#include "quant/train/fake_quant.h"
#include "quant/wrappers.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/modes.h"
#include "support/values.h"
#include "support/weighted_sum.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

void check_buffers(const FakeLinearQuantization& fake_quant, const Json& expected) {
  for (const Buffer* buffer : fake_quant.buffers())
    if (expected.contains(buffer->name())) {
      INFO(buffer->name());
      CHECK(difference(buffer->item(), number(expected.at(buffer->name()))) == "");
    }
}

// A flat list in x's shape, or a tensor.
Tensor like(const Json& value, const Tensor& x) {
  if (is_tensor(value)) return tensor(value);
  std::vector<float> numbers;
  for (const Json& v : value) numbers.push_back(number(v));
  return Tensor::from(x.shape(), numbers);
}

FakeQuantConfig config_of(const Json& in) {
  return {.bits = in.at("num_bits"),
          .mode = test::mode_named(in.at("mode")),
          .ema_decay = number(in.at("ema_decay")),
          .clamp_integers = false,
          .dequantize = in.value("dequantize", true)};
}

Tensor range_of(float low, float high) { return Tensor::from({2}, std::vector<float>{low, high}); }

}  // namespace

TEST_CASE("golden 03: tracked ranges, outputs and gradients of fake quantization") {
  for_each_case("03_fake_linear_quantization", [](const Json& file, const Json& c) {
    const Json &in = c.at("inputs"), &steps = c.at("expected").at("steps");
    FakeLinearQuantization fake_quant(config_of(in));
    for (size_t i = 0; i < steps.size(); ++i) {
      const Json& expected = steps[i];
      INFO("step " << i);
      const Json* batch =
          in.contains("batches") ? &file.at("batches").at(in.at("batches").get<std::string>()).at(i) : nullptr;
      Tensor x = tensor(batch ? batch->at("x") : in.at("x"));
      fake_quant.set_training(expected.at("training"));
      if (!fake_quant.training() && !fake_quant.has_range()) {
        CHECK_THROWS_AS(fake_quant(x), Error);  // the original gives zeros here
        continue;
      }
      Tape tape;
      const Tape::Recording recording(tape);
      x.set_requires_grad(true);
      const Tensor y = fake_quant(x);
      CHECK(difference(y, like(expected.at("output"), x)) == "");
      check_buffers(fake_quant, expected);
      if (!batch || !expected.contains("input_grad")) continue;
      tape.backward(test::weighted_sum(y, tensor(batch->at("g"))));
      CHECK(difference(x.grad(), like(expected.at("input_grad"), x)) == "");
    }
    return kCompared;
  });
}

TEST_CASE("the range after three batches is the bias-corrected moving average") {
  FakeLinearQuantization fake_quant({.mode = LinearQuantMode::asymmetric_unsigned, .ema_decay = 0.9f});
  for (const float high : {1.0f, 2.0f, 4.0f}) fake_quant(range_of(0, high));
  CHECK(fake_quant.tracked_max_biased.item() == Approx(0.661));
  CHECK(fake_quant.tracked_max.item() == Approx(2.439114));
  CHECK(fake_quant.scale.item() == Approx(104.54615));
  CHECK(fake_quant.iter_count.item() == 3);
}

TEST_CASE("evaluation before any training step is an error with a hint") {
  FakeLinearQuantization fake_quant({});
  fake_quant.set_training(false);
  CHECK_THROWS_WITH(fake_quant(range_of(-1, 1)), Contains("no range yet") && Contains("training mode first"));
}

TEST_CASE("evaluation leaves the range alone and uses it") {
  FakeLinearQuantization fake_quant({.bits = 4, .mode = LinearQuantMode::asymmetric_unsigned});
  fake_quant(range_of(0, 15));
  fake_quant.set_training(false);
  const Tensor y = fake_quant(range_of(3.3f, 40));
  CHECK(test::values(y) == std::vector<float>{3, 15});
  CHECK(fake_quant.iter_count.item() == 1);
}

TEST_CASE("outputs never need more levels than the bits have, unless the clamp is off") {
  const Tensor x = range_of(-1, 1);
  const auto levels = [&](bool clamp) {
    FakeLinearQuantization fake_quant({.bits = 4, .clamp_integers = clamp, .dequantize = false});
    return test::values(fake_quant(x));
  };
  CHECK(levels(true) == std::vector<float>{-8, 7});
  CHECK(levels(false) == std::vector<float>{-8, 8});
}

TEST_CASE("an observing module follows the range without changing values, a frozen one the other way round") {
  FakeLinearQuantization fake_quant({.bits = 2, .mode = LinearQuantMode::asymmetric_unsigned});
  fake_quant.set_bits(std::nullopt);
  const Tensor x = range_of(0.1f, 3);
  CHECK(fake_quant(x).is_same(x));
  CHECK(fake_quant.tracked_max.item() == Approx(3));
  fake_quant.set_bits(2);
  fake_quant.set_frozen(true);
  CHECK(test::values(fake_quant(range_of(0.6f, 9))) == std::vector<float>{1, 3});
  CHECK(fake_quant.tracked_max.item() == Approx(3));
}

TEST_CASE("a range that is not finite is an error that says so") {
  FakeLinearQuantization fake_quant({});
  CHECK_THROWS_WITH(fake_quant(range_of(0, std::numeric_limits<float>::infinity())), Contains("diverged"));
}

TEST_CASE("a model with fake quantization can be traced before it has a range") {
  FakeLinearQuantization fake_quant({});
  fake_quant.set_training(false);
  Tape tape(Tape::Mode::trace);
  const Tape::Recording recording(tape);
  fake_quant(range_of(0, 1));
  CHECK(tape.nodes().size() == 1);
}

TEST_CASE("a wrapper keeps the path of what it wraps") {
  struct Net final : Module {
    std::string_view kind() const override { return "Net"; }
    Child relu1 = child(
        "relu1", std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::output, std::make_unique<ReLU>(),
                                                       std::make_unique<FakeLinearQuantization>(FakeQuantConfig{})));

   protected:
    Tensor forward(Inputs x) override { return relu1(x[0]); }
  } net;
  const auto* wrapper = net.relu1.as<QuantizationWrapper>();
  CHECK(wrapper->wrapped->path() == "relu1");
  CHECK(all_buffers(net).front()->path() == "relu1.fake_q.tracked_min_biased");
  const Tensor y = net(Tensor::from({3}, std::vector<float>{-1, 0.4f, 127}));
  CHECK(test::values(y) == std::vector<float>{0, 0, 127 * 127 / 127.5f});
}
