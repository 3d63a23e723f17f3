// Optimizers, against numbers from torch 1.13.
#include "nn/optim/optimizer.h"

#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/module.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;

namespace {

// loss = sum_i (i + 1) * (p_i - target_i)^2
struct Problem final : Module {
  Parameter p = parameter("p", start());
  Parameter other = parameter("other", Tensor::scalar(1));
  std::string_view kind() const override { return "Problem"; }
  static Tensor start() { return Tensor::from({4}, std::vector<float>{1, -2, 0.5f, 3}); }

 protected:
  Tensor forward(Inputs) override {
    const Tensor target = Tensor::from({4}, std::vector<float>{0.3f, -0.1f, 0.7f, 2});
    return sum(mul(square(sub(p(), target)), Tensor::from({4}, std::vector<float>{1, 2, 3, 4})));
  }
};

std::unique_ptr<Optimizer> optimizer(const char* json) {
  return Registry<Optimizer>::create({Json::parse(json), "", "optimizer"});
}

void train(Problem& problem, Optimizer& optimizer, int steps) {
  for (int i = 0; i < steps; ++i) {
    optimizer.zero_grad();
    Tape tape;
    const Tape::Recording recording(tape);
    tape.backward(problem.call({}));
    optimizer.step();
  }
}

// The parameter after five steps.
Tensor trained(const char* json) {
  Problem problem;
  const auto o = optimizer(json);
  o->add_param_group({.name = "default", .parameters = {&problem.p}});
  train(problem, *o, 5);
  return problem.p.raw();
}

std::string compare(const Tensor& actual, std::vector<float> expected) {
  return golden::difference(actual, Tensor::from({4}, expected), {1e-6, 1e-6});
}

}  // namespace

TEST_CASE("SGD makes PyTorch's steps") {
  CHECK(compare(trained(R"({"class": "SGD", "lr": 0.05})"), {0.713343024f, -0.722592056f, 0.666386008f, 2.07775998f}) ==
        "");
  CHECK(compare(trained(R"({"class": "SGD", "lr": 0.05, "weight_decay": 0.1})"),
                {0.695906222f, -0.701713204f, 0.657954812f, 2.05172348f}) == "");
  CHECK(compare(trained(R"({"class": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01})"),
                {0.663332403f, -0.351326168f, 0.733579159f, 1.58659494f}) == "");
  CHECK(compare(trained(R"({"class": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01, "nesterov": true})"),
                {0.597984076f, -0.166330546f, 0.7416991f, 1.63986552f}) == "");
  CHECK(compare(trained(R"({"class": "SGD", "lr": 0.02, "momentum": 0.9, "dampening": 0.5})"),
                {0.771894097f, -0.830946803f, 0.674065232f, 1.90704048f}) == "");
}

TEST_CASE("Adam and AdamW make PyTorch's steps") {
  CHECK(compare(trained(R"({"class": "Adam", "lr": 0.1, "weight_decay": 0.01})"),
                {0.51449579f, -1.50316095f, 0.815366507f, 2.50793242f}) == "");
  CHECK(compare(trained(R"({"class": "AdamW", "lr": 0.1})"), {0.510787845f, -1.49425757f, 0.815693498f, 2.4943583f}) ==
        "");
  CHECK(compare(
            trained(R"({"class": "AdamW", "lr": 0.1, "beta1": 0.8, "beta2": 0.95, "eps": 0.001, "weight_decay": 0.2})"),
            {0.449432731f, -1.3344748f, 0.770098329f, 2.25419641f}) == "");
}

TEST_CASE("a state that was saved and loaded continues to the same bits") {
  const char* json =
      GENERATE(R"({"class": "SGD", "lr": 0.02, "momentum": 0.9, "nesterov": true})", R"({"class": "Adam", "lr": 0.1})");
  Problem problem, resumed;
  const auto whole = optimizer(json), second = optimizer(json);
  whole->add_param_group({.name = "default", .parameters = {&problem.p}});
  second->add_param_group({.name = "default", .parameters = {&resumed.p}});
  train(problem, *whole, 3);
  resumed.p.set_raw(problem.p.raw().clone());
  second->load_state(whole->state());
  train(problem, *whole, 2);
  train(resumed, *second, 2);
  CHECK(golden::difference(resumed.p.raw(), problem.p.raw(), golden::kExact) == "");
}

TEST_CASE("a loaded state takes the place of all that was there") {
  for (const char* json : {R"({"class": "SGD", "lr": 0.02, "momentum": 0.9})", R"({"class": "Adam", "lr": 0.1})"}) {
    Problem used, fresh;
    const auto with_history = optimizer(json), without = optimizer(json);
    with_history->add_param_group({.name = "default", .parameters = {&used.p}});
    without->add_param_group({.name = "default", .parameters = {&fresh.p}});
    train(used, *with_history, 3);
    with_history->load_state({});
    used.p.set_raw(fresh.p.raw().clone());
    train(used, *with_history, 2);
    train(fresh, *without, 2);
    CHECK(golden::difference(used.p.raw(), fresh.p.raw(), golden::kExact) == "");
  }
}

TEST_CASE("a saved state does not change when training goes on") {
  Problem problem;
  const auto o = optimizer(R"({"class": "SGD", "lr": 0.02, "momentum": 0.9})");
  o->add_param_group({.name = "default", .parameters = {&problem.p}});
  train(problem, *o, 1);
  const auto saved = o->state();
  const Tensor before = saved.at("p.momentum_buffer").clone();
  train(problem, *o, 1);
  CHECK(golden::difference(saved.at("p.momentum_buffer"), before, golden::kExact) == "");
}

TEST_CASE("state for an unknown parameter, entry or shape is refused") {
  Problem problem;
  const auto o = optimizer(R"({"class": "SGD", "momentum": 0.9})");
  o->add_param_group({.name = "default", .parameters = {&problem.p}});
  CHECK_THROWS_AS(o->load_state({{"q.momentum_buffer", Problem::start()}}), Error);
  CHECK_THROWS_AS(o->load_state({{"p.exp_avg", Problem::start()}}), Error);
  CHECK_THROWS_AS(o->load_state({{"p.momentum_buffer", Tensor::scalar(1)}}), Error);
  CHECK_NOTHROW(o->load_state({{"p.momentum_buffer", Problem::start()}}));
}

TEST_CASE("a group has its own weight decay and its share of the learning rate") {
  Problem problem;
  problem.p.raw().set_grad(Tensor::full({4}, 1));
  const auto o = optimizer(R"({"class": "SGD", "lr": 0.1, "weight_decay": 100})");
  o->add_param_group({.name = "slow", .parameters = {&problem.p}, .weight_decay = 0, .lr_factor = 0.5f});
  o->step();
  CHECK(problem.p.raw().data()[0] == Approx(0.95));
}

TEST_CASE("a parameter moves to the group that took it last") {
  Problem problem;
  const auto o = optimizer(R"({"class": "SGD"})");
  o->add_param_group({.name = "default", .parameters = {&problem.p, &problem.other}});
  o->add_param_group({.name = "other", .parameters = {&problem.other}});
  CHECK(o->param_groups()[0].parameters == std::vector<Parameter*>{&problem.p});
  CHECK_THROWS_AS(o->add_param_group({.name = "twice", .parameters = {&problem.p, &problem.p}}), Error);
}

TEST_CASE("parameters without a gradient stay as they are") {
  Problem problem;
  const auto o = optimizer(R"({"class": "SGD", "lr": 0.1, "weight_decay": 0.5})");
  o->add_param_group({.name = "default", .parameters = {&problem.p, &problem.other}});
  train(problem, *o, 1);
  CHECK(problem.other.raw().item() == 1);
  CHECK(problem.p.raw().data()[0] != 1);
}

TEST_CASE("settings that make no sense are refused") {
  CHECK_THROWS_AS(optimizer(R"({"class": "SGD", "nesterov": true})"), Error);
  CHECK_THROWS_AS(optimizer(R"({"class": "SGD", "lr": -1})"), Error);
  CHECK_THROWS_AS(optimizer(R"({"class": "Adam", "beta1": 1})"), Error);
}
