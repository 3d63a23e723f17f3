// Weights that oscillate: what draws them to their levels, what stops them, and what is kept of them.
#include "quant/train/oscillation.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nn/optim/sgd.h"
#include "quant/small_net.h"
#include "quant/train/lsq.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/errors.h"

namespace oscillation_test {

using namespace qgrad;
using Floats = std::vector<float>;
using test::error_of;

namespace {

// Three weights on levels half a unit apart, 2 bits: -1, -0.5, 0, 0.5. Their gradients are what a test says.
struct Fixture {
  Linear layer{3, 1};
  Parameter& weight = layer.weighted_sum()->weight;
  LSQQuantization* levels;
  Sgd optimizer{SgdConfig{.lr = 1}};
  Oscillations* oscillations = nullptr;

  Fixture() {
    auto quantization = std::make_unique<LSQQuantization>(2, Role::weights, LSQOptions{});
    levels = quantization.get();
    weight.set_transform(std::move(quantization));
    put({0.2f, -0.4f, 0.9f});
    levels->start_from(weight.raw());
    set_step(0.5f);
    optimizer.add_param_group({.name = "weights", .parameters = {&weight}});
  }
  void follow(const OscillationConfig& config) {
    auto follows = std::make_unique<Oscillations>(config, layer);
    oscillations = follows.get();
    optimizer.set_observer(std::move(follows));
  }
  void put(const Floats& values) { weight.set_raw(Tensor::from({3, 1}, values)); }
  void set_step(float step) { levels->step.raw().mutable_data()[0] = step; }
  void step(const Floats& gradient) {
    weight.raw().set_grad(Tensor::from({3, 1}, gradient));
    optimizer.step();
  }
  Floats weights() const { return test::values(weight.raw()); }
};

bool near(const Floats& a, const Floats& b) {
  return std::ranges::equal(a, b, [](float x, float y) { return x == Approx(y).margin(1e-6); });
}

}  // namespace

TEST_CASE("dampening draws weights to their levels, more as the training goes on, but for those beyond all levels") {
  for (const auto& [progress, strength] : {std::pair(0.0, 0.0f), {0.5, 0.1f}, {1.0, 0.2f}}) {
    Fixture f;
    f.follow({.dampening = 0.1f});
    f.oscillations->set_progress(progress);
    f.step({0, 0.25f, 0});
    // From 0.2 to 0, from -0.4 to -0.5; 0.9 is beyond 0.5.
    CHECK(near(f.weights(), {0.2f - strength * 0.2f, -0.4f - 0.25f - strength * 0.1f, 0.9f}));
  }
}

TEST_CASE("a weight whose level goes back and forth is frozen on the level where it was most") {
  Fixture f;
  f.follow({.momentum = 0.5f, .freeze_above = 0.6f});
  const auto back_and_forth = [&](float by) { f.step({by, 0.01f, 0}); };
  back_and_forth(-0.2f);  // 0.2 -> 0.4: level 1
  back_and_forth(0.2f);   // level 0, back the way it came: 0.5
  CHECK(f.oscillations->frozen_percent() == 0);
  back_and_forth(-0.2f);  // level 1, back again: 0.75, frozen; the levels 1, 0, 1 have the average 0.625
  CHECK(f.oscillations->frozen_percent() == Approx(100.0 / 3));
  CHECK(near(f.weights(), {0.5f, -0.43f, 0.9f}));
  f.step({-7, 0, 0});
  CHECK(near(f.weights(), {0.5f, -0.43f, 0.9f}));
  f.set_step(0.25f);  // stays on its level, wherever that is
  f.step({-7, 0, 0});
  CHECK(near(f.weights(), {0.25f, -0.43f, 0.9f}));
}

TEST_CASE("a weight that changes its level in one direction is not frozen") {
  Fixture f;
  f.follow({.momentum = 1, .freeze_above = 0});
  for (int i = 0; i < 3; ++i) f.step({0.5f, 0, 0});
  CHECK(f.oscillations->frozen_percent() == 0);
}

TEST_CASE("the threshold of freezing goes from the first to the last") {
  for (const double progress : {0.0, 1.0}) {
    Fixture f;
    f.follow({.momentum = 0.5f, .freeze_above = 0.1f, .freeze_above_at_first = 0.6f});
    f.oscillations->set_progress(progress);
    f.step({-0.2f, 0, 0});
    f.step({0.2f, 0, 0});  // a frequency of 0.5
    CHECK((f.oscillations->frozen_percent() > 0) == (progress == 1));
  }
}

TEST_CASE("weights are not followed while they have other bits than their own") {
  Fixture f;
  f.follow({.dampening = 1, .momentum = 1, .freeze_above = 0});
  f.oscillations->set_progress(1);
  f.levels->set_bits(8);
  for (const float by : {-0.2f, 0.2f, -0.2f}) f.step({by, 0, 0});
  CHECK(near(f.weights(), {0.4f, -0.4f, 0.9f}));
  CHECK(f.oscillations->state().empty());
}

TEST_CASE("what is known of oscillations goes with the optimizer's state") {
  const OscillationConfig config{.momentum = 0.5f, .freeze_above = 0.6f};
  Fixture whole, first, second;
  for (Fixture* f : {&whole, &first, &second}) f->follow(config);
  for (const float by : {-0.2f, 0.2f}) whole.step({by, 0, 0}), first.step({by, 0, 0});
  second.put(first.weights());
  second.optimizer.load_state(first.optimizer.state());
  whole.step({-0.2f, 0, 0});
  second.step({-0.2f, 0, 0});
  CHECK(second.weights() == whole.weights());
  CHECK(second.oscillations->frozen_percent() > 0);

  Fixture none;
  CHECK_THAT(error_of([&] { none.optimizer.load_state(first.optimizer.state()); }),
             Contains("no parameter 'observer/"));
  std::map<std::string, Tensor> state = first.optimizer.state();
  state.erase("observer/weight.average");
  CHECK_THAT(error_of([&] { second.optimizer.load_state(state); }), Contains("the state has 3 tensors, of which 3"));
  state["observer/weight.average"] = Tensor::zeros({2});
  CHECK_THAT(error_of([&] { second.optimizer.load_state(state); }), Contains("wants shape [3,1], got [2]"));
}

TEST_CASE("quantizers with evenly spaced levels of the weights are followed, others refused") {
  const auto follow = [](const char* quantizer, const Json& more = Json::object()) {
    ModulePtr model = test::small_net();
    Json config = {{"class", quantizer}, {"bits_activations", 4}, {"bits_weights", 4}};
    config.update(more);
    golden::quantizer_of(config)->prepare(model, nullptr, test::small_input());
    return error_of([&] { Oscillations({.dampening = 1}, *model); });
  };
  for (const char* quantizer :
       {"QuantAwareTrainRangeLinearQuantizer", "WRPNQuantizer", "LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer"}) {
    INFO(quantizer);
    CHECK(follow(quantizer) == "no error");
  }
  CHECK(follow("PACTQuantizer", {{"weights", "SAWB"}}) == "no error");
  for (const char* quantizer : {"DorefaQuantizer", "PACTQuantizer", "APoTQuantizer"}) {
    INFO(quantizer);
    CHECK_THAT(follow(quantizer), Contains("no weights on the nearest of evenly spaced levels"));
  }
}

TEST_CASE("a config that asks for nothing, or for half, is an error") {
  Fixture f;
  CHECK_THAT(error_of([&] { f.follow({}); }), Contains("neither dampening nor freeze_above"));
  CHECK_THAT(error_of([&] { f.follow({.dampening = 1, .freeze_above_at_first = 0.1f}); }),
             Contains("freeze_above is not given"));
}

}  // namespace oscillation_test
