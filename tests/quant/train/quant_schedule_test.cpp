// Schedules of quantization: what each phase does to a model, and that a resumed training cannot tell.
#include "quant/train/quant_schedule.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/optim/sgd.h"
#include "quant/train/learned_grid.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace quant_schedule_test {

using namespace qgrad;
using namespace qgrad::golden;

namespace {

Tensor batch(uint64_t seed, float scale = 1) { return test::normal_tensor({4, 4, 4, 3}, seed, scale); }

ModulePtr prepared(const std::string& quantizer, Optimizer* optimizer = nullptr) {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)));
  net->add("bn", std::make_unique<BatchNorm2d>(4));
  net->add("relu", std::make_unique<ReLU>());
  net->add("sigmoid", std::make_unique<Sigmoid>());
  net->add("flatten", std::make_unique<Flatten>());
  net->add("fc", std::make_unique<Linear>(64, 5));
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  ModulePtr model = std::move(net);
  if (optimizer) optimizer->add_param_group({.name = "default", .parameters = all_parameters(*model)});
  quantizer_of({{"class", quantizer},
                {"bits_activations", 3},
                {"bits_weights", 3},
                {"overrides", {{"fc", {{"bits_weights", 6}}}}}})
      ->prepare(model, optimizer, batch(1));
  return model;
}

std::optional<int> weight_bits(Module& model, const char* path) {
  return dynamic_cast<Quantization&>(*parameter_at(model, path).transform()).bits();
}

QuantScheduleConfig config_of(const Json& json) { return read_config<QuantScheduleConfig>({json, "test.json", "q"}); }

// Steps [from, to) of a training of 3 steps an epoch.
void train(Module& model, Optimizer& optimizer, QuantSchedule& schedule, int64_t from, int64_t to) {
  const int32_t labels[] = {0, 1, 2, 3};
  for (int64_t k = from; k < to; ++k) {
    schedule.apply(k / 3, k % 3, 3);
    optimizer.zero_grad();
    Tape tape;
    const Tape::Recording recording(tape);
    tape.backward(softmax_cross_entropy(model(batch(static_cast<uint64_t>(100 + k))), labels));
    optimizer.step();
  }
}

}  // namespace

TEST_CASE("bits come down to the quantizer's own, layer by layer") {
  const std::string quantizer =
      GENERATE("QuantAwareTrainRangeLinearQuantizer", "PACTQuantizer", "DorefaQuantizer", "WRPNQuantizer",
               "LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer", "N2UQQuantizer");
  INFO(quantizer);
  const ModulePtr model = prepared(quantizer);
  QuantSchedule schedule(
      config_of({{"quantize_from", 0.5}, {"bits", {{{"until", 1}, {"at_least", 8}}, {{"until", 2}, {"at_least", 5}}}}}),
      *model, 4);
  const auto bits_at = [&](int64_t epoch, int64_t step) {
    schedule.apply(epoch, step, 4);
    return std::pair(weight_bits(*model, "conv.weight"), weight_bits(*model, "fc.weight"));
  };
  using Pair = std::pair<std::optional<int>, std::optional<int>>;
  CHECK(bits_at(0, 0) == Pair(std::nullopt, std::nullopt));
  CHECK(bits_at(0, 2) == Pair(8, 8));
  CHECK(bits_at(1, 0) == Pair(5, 6));
  CHECK(bits_at(2, 0) == Pair(3, 6));
  CHECK(schedule.is_final(2));
  CHECK_FALSE(schedule.is_final(1));
  (*model)(batch(3));
}

TEST_CASE("ranges are followed, used and frozen as the schedule says") {
  const ModulePtr model = prepared("QuantAwareTrainRangeLinearQuantizer");
  QuantSchedule schedule(config_of({{"observe_from", 1},
                                    {"quantize_from", 2},
                                    {"freeze_ranges_from", 3},
                                    {"bits", {{{"until", 2.5}, {"at_least", 8}}}}}),
                         *model, 5);
  const auto range = [&]() -> FakeLinearQuantization& { return fake_quant_at(*model, "sigmoid"); };
  schedule.apply(0, 0, 2);
  CHECK(range().bits() == std::nullopt);
  (*model)(batch(1, 100));
  schedule.apply(1, 0, 2);
  CHECK_FALSE(range().has_range());  // what came before does not count
  (*model)(batch(1, 0.1f));
  CHECK(range().tracked_max.item() < 0.9f);
  schedule.apply(2, 0, 2);
  CHECK(range().bits() == 8);
  CHECK_FALSE(range().frozen());
  (*model)(batch(2, 0.1f));
  const float before = range().scale.item();
  schedule.apply(2, 1, 2);
  CHECK(range().bits() == 3);
  model->set_training(false);
  (*model)(batch(2, 0.1f));
  model->set_training(true);
  CHECK(range().scale.item() == Approx(before * 7 / 255));  // symmetric: n = (2^bits - 1) / 2
  schedule.apply(3, 0, 2);
  CHECK(range().frozen());
  const float frozen = range().tracked_max.item();
  (*model)(batch(3, 50));
  CHECK(range().tracked_max.item() == frozen);
}

TEST_CASE("learned grids and batch norms are frozen as the schedule says") {
  const ModulePtr model = prepared("LSQQuantizer");
  QuantSchedule schedule(config_of({{"freeze_ranges_from", 1}, {"freeze_batch_norm_from", 2}}), *model, 4);
  auto& norm = dynamic_cast<BatchNorm&>(*find_module(*model, "bn"));
  Sgd optimizer({.lr = 0.1f});
  optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
  const Parameter& step = parameter_at(*model, "relu.step");
  train(*model, optimizer, schedule, 0, 3);
  const float at_one = step.raw().item();
  train(*model, optimizer, schedule, 3, 6);
  CHECK(step.raw().item() == at_one);
  const Tensor statistics = norm.running_mean();
  train(*model, optimizer, schedule, 6, 9);
  CHECK(test::bits(norm.running_mean()) == test::bits(statistics));
}

TEST_CASE("a training that stops anywhere goes on to the same bits") {
  const auto [quantizer, stop] = GENERATE(table<std::string, int64_t>({{"QuantAwareTrainRangeLinearQuantizer", 3},
                                                                       {"QuantAwareTrainRangeLinearQuantizer", 9},
                                                                       {"LSQQuantizer", 3},
                                                                       {"LSQQuantizer", 6},
                                                                       {"LSQQuantizer", 9},
                                                                       {"LSQPlusQuantizer", 6},
                                                                       {"TQTQuantizer", 9},
                                                                       {"APoTQuantizer", 6},
                                                                       {"N2UQQuantizer", 6},
                                                                       {"PACTQuantizer", 6}}));
  INFO(quantizer << " stopped after " << stop << " steps");
  const std::string of_class = quantizer;
  const QuantScheduleConfig config =
      config_of({{"observe_from", 0.5},
                 {"quantize_from", 1},
                 {"freeze_ranges_from", 4},
                 {"freeze_batch_norm_from", 3.5},
                 {"bits", {{{"until", 2}, {"at_least", 8}}, {{"until", 3}, {"at_least", 4}}}}});
  const auto start = [&](Sgd& optimizer) { return prepared(of_class, &optimizer); };
  Sgd whole_optimizer({.lr = 0.05f, .momentum = 0.9f});
  const ModulePtr whole = start(whole_optimizer);
  QuantSchedule whole_schedule(config, *whole, 5);
  train(*whole, whole_optimizer, whole_schedule, 0, stop);
  Checkpoint state;
  for (const auto& [name, tensor] : model_state(*whole)) state.tensors.emplace_back(name, tensor.clone());
  const auto optimizer_state = whole_optimizer.state();
  train(*whole, whole_optimizer, whole_schedule, stop, 15);

  Sgd resumed_optimizer({.lr = 0.05f, .momentum = 0.9f});
  const ModulePtr resumed = start(resumed_optimizer);
  load_state(*resumed, state);
  resumed_optimizer.load_state(optimizer_state);
  QuantSchedule resumed_schedule(config, *resumed, 5);
  train(*resumed, resumed_optimizer, resumed_schedule, stop, 15);
  const NamedTensors a = model_state(*whole), b = model_state(*resumed);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    INFO(a[i].first);
    CHECK(test::bits(a[i].second) == test::bits(b[i].second));
  }
}

TEST_CASE("schedules that make no sense are refused") {
  const ModulePtr model = prepared("LSQQuantizer");
  const auto error = [&](const Json& json) {
    return test::error_of([&] { QuantSchedule(config_of(json), *model, 4); });
  };
  CHECK(error({{"observe_from", 2}, {"quantize_from", 1}}) ==
        "train.quantization: observe_from is 2, which is after quantize_from, 1");
  CHECK(error({{"quantize_from", 4}}).find("at least one whole epoch must follow") != std::string::npos);
  CHECK(error({{"bits", {{{"until", 1}, {"at_least", 4}}, {{"until", 2}, {"at_least", 8}}}}})
            .find("'at_least' must not") != std::string::npos);
  CHECK(error({{"freeze_ranges_from", 0}}).find("freeze_ranges_from is 0") != std::string::npos);
  Linear plain(2, 3);
  CHECK(test::error_of([&] { QuantSchedule({}, plain, 4); }) ==
        "train.quantization: the model has nothing that is quantized");
}

}  // namespace quant_schedule_test
