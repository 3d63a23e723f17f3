// freeze_ranges_from, over every quantizer that trains: no range and no learned grid changes from then on.
#include <map>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/optim/adam.h"
#include "nn/optim/sgd.h"
#include "quant/post_train/linear.h"
#include "quant/small_net.h"
#include "quant/train/fake_quant.h"
#include "quant/train/quant_aware_train_golden.h"
#include "quant/train/quant_schedule.h"
#include "quant/train/range_linear.h"
#include "quant/wrappers.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace freezing_test {

using namespace qgrad;

namespace {

using Ranges = std::map<std::string, std::vector<uint32_t>>;

// What the quantizations of a model keep, by path. The scales of LinearQuantizeParam are functions of the weights.
Ranges ranges_of(Module& model) {
  Ranges ranges;
  visit_modules(model, [&](Module& module) {
    if (!dynamic_cast<Quantization*>(&module) || dynamic_cast<LinearQuantizeParam*>(&module)) return;
    for (const Parameter* p : module.parameters())
      if (p->defined()) ranges[p->path()] = test::bits(p->raw());
    for (const Buffer* b : module.buffers()) ranges[b->path()] = test::bits((*b)());
  });
  return ranges;
}

// Two steps an epoch, of numbers that grow; returns the ranges after each epoch.
std::vector<Ranges> train(Module& model, Optimizer& optimizer, const QuantScheduleConfig& config, int epochs) {
  QuantSchedule schedule(config, model, epochs);
  const int32_t labels[] = {0, 1};
  std::vector<Ranges> after;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    for (int step = 0; step < 2; ++step) {
      schedule.apply(epoch, step, 2);
      optimizer.zero_grad();
      Tape tape;
      const Tape::Recording recording(tape);
      const Tensor x = test::normal_tensor({2, 4, 4, 3}, static_cast<uint64_t>(10 + 2 * epoch + step),
                                           static_cast<float>(1 + epoch));
      tape.backward(softmax_cross_entropy(model(x), labels));
      optimizer.step();
    }
    after.push_back(ranges_of(model));
  }
  return after;
}

ModulePtr prepared(Quantizer& quantizer, Optimizer& optimizer) {
  ModulePtr model = test::small_net();
  optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
  quantizer.prepare(model, &optimizer, test::small_input());
  return model;
}

// Momentum, weight decay and moments, which go on without gradients if anything lets them.
std::unique_ptr<Optimizer> optimizer_of(bool adam) {
  if (adam) return std::make_unique<Adam>(AdamConfig{.lr = 0.01f, .weight_decay = 0.1f});
  return std::make_unique<Sgd>(SgdConfig{.lr = 0.01f, .momentum = 0.9f, .weight_decay = 0.1f});
}

void check_frozen_from(int epoch, const std::vector<Ranges>& after) {
  CHECK(after[static_cast<size_t>(epoch) - 2] != after[static_cast<size_t>(epoch) - 1]);
  for (size_t later = static_cast<size_t>(epoch); later < after.size(); ++later) {
    INFO("epoch " << later);
    CHECK(after[later] == after[static_cast<size_t>(epoch) - 1]);
  }
}

// As a class of somebody else's: an activation that is divided by a learned width, and clipped to [-1, 1].
struct LearnedWidth final : Quantization {
  LearnedWidth() : Quantization(4) {}
  std::string_view kind() const override { return "LearnedWidth"; }
  Parameter width = parameter("width", Tensor::full({1}, 2));

 protected:
  Tensor quantized(const Tensor& x) override { return clamp(div(x, width()), -1, 1); }
};
struct Untold final : UnaryModule {
  std::string_view kind() const override { return "Untold"; }

 protected:
  Tensor forward(const Tensor& x) override { return clamp(x, -1, 1); }
};

template <class Activation, class Weight>
struct OwnQuantizer final : Quantizer {
  OwnQuantizer() : Quantizer(QuantizerConfig{.bits_activations = 4, .bits_weights = 4}) {
    replacement_factory["ReLU"] = [](const Site&, ModulePtr relu) -> ModulePtr {
      return std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::output, std::move(relu),
                                                   std::make_unique<Activation>());
    };
  }
  ModulePtr weight_transform(const Site&, Parameter&, int) override { return std::make_unique<Weight>(); }
};

}  // namespace

TEST_CASE("from freeze_ranges_from on no range and no learned grid changes, whatever the quantizer") {
  int with_ranges = 0;
  for (const std::string& name : Registry<Quantizer>::instance().names())
    for (const char* where : {"outputs", "inputs"})
      for (const bool adam : {false, true}) {
        if (name == "PostTrainLinearQuantizer") continue;
        INFO(name << ", " << where << (adam ? ", Adam" : ", SGD"));
        const auto quantizer = golden::quantizer_of(
            {{"class", name}, {"bits_activations", 4}, {"bits_weights", 4}, {"quantized_activations", where}});
        const auto optimizer = optimizer_of(adam);
        const ModulePtr model = prepared(*quantizer, *optimizer);
        const std::vector<Ranges> after =
            train(*model, *optimizer,
                  {.quantize_from = 0.5, .freeze_ranges_from = 3, .bits = {{.until = 1, .at_least = 8}}}, 6);
        if (after[0] == after[1]) continue;  // clips that stay
        ++with_ranges;
        check_frozen_from(3, after);
      }
  CHECK(with_ranges >= 4 * 7 - 2);  // what layers of this net read is behind a Tanh, where PACT's clip is fixed
}

TEST_CASE("grids of every option are frozen too: a step for each channel, biases, offsets") {
  for (const Json& config :
       {Json{{"class", "LSQQuantizer"}, {"per_channel_wts", true}, {"bits_bias", 8}, {"midrise_wts", true}},
        Json{{"class", "LSQPlusQuantizer"}, {"per_channel_wts", true}},
        Json{{"class", "TQTQuantizer"}, {"bits_bias", 8}},
        Json{{"class", "PACTQuantizer"}, {"act_clip_decay", 0.5}, {"act_clip_init_val", 1}},
        Json{{"class", "APoTQuantizer"}, {"normalize_weights", false}}, Json{{"class", "N2UQQuantizer"}},
        Json{{"class", "QuantAwareTrainRangeLinearQuantizer"}, {"batch_norm_folding", "simulated"}}}) {
    INFO(config.dump());
    Json whole = {{"bits_activations", 4}, {"bits_weights", 4}};
    whole.update(config);
    const auto quantizer = golden::quantizer_of(whole);
    const auto optimizer = optimizer_of(false);
    const ModulePtr model = prepared(*quantizer, *optimizer);
    check_frozen_from(3, train(*model, *optimizer, {.freeze_ranges_from = 3}, 6));
  }
}

TEST_CASE("a quantization outside of the tree is frozen, and gets the schedule's bits") {
  OwnQuantizer<LearnedWidth, LearnedWidth> quantizer;
  const auto optimizer = optimizer_of(false);
  const ModulePtr model = prepared(quantizer, *optimizer);
  optimizer->add_param_group({.name = "widths", .parameters = all_parameters(*model)});
  const QuantScheduleConfig config{.freeze_ranges_from = 3, .bits = {{.until = 2, .at_least = 6}}};
  check_frozen_from(3, train(*model, *optimizer, config, 6));
  QuantSchedule schedule(config, *model, 6);
  const auto& width = dynamic_cast<Quantization&>(*golden::parameter_at(*model, "conv.weight").transform());
  schedule.apply(0, 0, 2);
  CHECK(width.bits() == 6);
  CHECK_FALSE(width.frozen());
  schedule.apply(4, 0, 2);
  CHECK(width.bits() == 4);
  CHECK(width.frozen());
}

TEST_CASE("a schedule refuses what quantizes and could not be told") {
  const auto error = [](Quantizer& quantizer, const QuantScheduleConfig& config) {
    const ModulePtr model = prepared(quantizer, *optimizer_of(false));
    return test::error_of([&] { QuantSchedule(config, *model, 6); });
  };
  OwnQuantizer<LearnedWidth, Untold> weights;
  CHECK(error(weights, {.freeze_ranges_from = 3}) ==
        "train.quantization: conv.weight is quantized by a Untold, which takes no part in schedules: its class has to "
        "derive from Quantization");
  OwnQuantizer<Untold, LearnedWidth> activations;
  CHECK(error(activations, {.quantize_from = 1}).find("relu is quantized by a Untold") != std::string::npos);
  OwnQuantizer<Untold, LearnedWidth> norms_only;
  CHECK(error(norms_only, {.freeze_batch_norm_from = 1}) == "no error");
}

TEST_CASE("ranges can not be frozen before the bits are the final ones") {
  const auto quantizer =
      golden::quantizer_of({{"class", "LSQQuantizer"}, {"bits_activations", 4}, {"bits_weights", 4}});
  const ModulePtr model = prepared(*quantizer, *optimizer_of(false));
  const QuantScheduleConfig config{.freeze_ranges_from = 2, .bits = {{.until = 3, .at_least = 8}}};
  CHECK(test::error_of([&] { QuantSchedule(config, *model, 6); }) ==
        "train.quantization: bits[0].until is 3, which is after freeze_ranges_from, 2");
}

TEST_CASE("from observe_from on learned grids start from the numbers there are then") {
  const auto quantizer =
      golden::quantizer_of({{"class", "LSQQuantizer"}, {"bits_activations", 4}, {"bits_weights", 4}});
  const auto optimizer = optimizer_of(false);
  const ModulePtr model = prepared(*quantizer, *optimizer);
  Parameter& weight = golden::parameter_at(*model, "conv.weight");
  const float at_first = golden::parameter_at(*model, "conv.weight_quant.step").raw().item();
  for (float& w : weight.raw().mutable_data()) w *= 100;
  QuantSchedule schedule({.observe_from = 1, .quantize_from = 1}, *model, 6);
  schedule.apply(0, 0, 2);
  (*model)(test::small_input());
  schedule.apply(1, 0, 2);
  (*model)(test::small_input());
  CHECK(golden::parameter_at(*model, "conv.weight_quant.step").raw().item() == Approx(100 * at_first));
}

}  // namespace freezing_test
