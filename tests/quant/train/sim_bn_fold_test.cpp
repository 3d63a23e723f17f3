// Simulated folding of batch norms: golden steps, freezing, folding for good, and the quantizer that uses it.
#include "quant/train/simulated_folding.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/optim/sgd.h"
#include "quant/train/quant_aware_train_golden.h"
#include "quant/train/quant_schedule.h"
#include "quant/train/range_linear.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden_net.h"
#include "support/values.h"
#include "support/weighted_sum.h"

using namespace qgrad;
using namespace qgrad::golden;

namespace {

constexpr Tolerance kFolding{1e-5, 1e-5};

// The layer and the batch norm of a golden case, with its parameters and its quantization.
std::unique_ptr<SimulatedFoldedBatchNorm> build(const Json& inputs) {
  const Json& nodes = inputs.at("nodes");
  Json norm = nodes.at(1);
  norm["args"]["momentum"] = inputs.at("momentum");
  auto module = std::make_unique<SimulatedFoldedBatchNorm>(build_layer(nodes.at(0), true), build_layer(norm, true));
  Json params = Json::object();
  const auto layer_name = nodes.at(0).at("name").get<std::string>();
  for (const auto& [name, value] : inputs.at("params").items())
    params[name.starts_with(layer_name + ".") ? name.substr(layer_name.size() + 1) : name] = value;
  load_params(*module, params);
  if (const Json& bits = inputs.at("weight_and_bias_bits"); !bits.is_null()) {
    const auto [weight, bias] = layer_parameters(*module->layer);
    if (!bias.defined()) bias.set_raw(Tensor::zeros({weight.raw().dim(-1)}));
    for (Parameter* p : {&weight, &bias}) {
      const LinearQuantizeParamConfig config{.bits = bits.get<int>(), .clamp_integers = false};
      p->set_transform(std::make_unique<LinearQuantizeParam>(config, p->raw().shape()));
    }
  }
  return module;
}

void set_running(SimulatedFoldedBatchNorm& module, const Json& step) {
  module.norm().running_mean.set(tensor(step.at("running_mean")));
  module.norm().running_var.set(tensor(step.at("running_var")));
}

void check_gradients(SimulatedFoldedBatchNorm& module, const Tensor& x, const Json& expected) {
  const Parameter& weight = layer_parameters(*module.layer).weight;
  CHECK(difference(file_activation(x.grad()), tensor(expected.at("input_grad")), kFolding) == "");
  CHECK(difference(to_file_layout(weight.raw().grad(), weight.layout()), tensor(expected.at("weight_grad")),
                   kFolding) == "");
  CHECK(difference(module.norm().weight.raw().grad(), tensor(expected.at("bn_weight_grad")), kFolding) == "");
  CHECK(difference(module.norm().bias.raw().grad(), tensor(expected.at("bn_bias_grad")), kFolding) == "");
}

ModulePtr conv_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 8, 3, 1, 1, /*bias=*/false)));
  net->add("bn1", std::make_unique<BatchNorm2d>(8));
  net->add("relu1", std::make_unique<ReLU>());
  net->add("conv2", std::make_unique<Conv2d>(square_conv(8, 4, 3, 1, 1)));
  net->add("bn2", std::make_unique<BatchNorm2d>(4));
  net->add("relu2", std::make_unique<ReLU>());
  net->add("flatten", std::make_unique<Flatten>());
  net->add("fc", std::make_unique<Linear>(64, 5));
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  return net;
}
Tensor images(uint64_t seed) { return test::normal_tensor({6, 4, 4, 3}, seed); }

Json quantizer_config(const char* folding) {
  return {{"class", "QuantAwareTrainRangeLinearQuantizer"},
          {"bits_activations", 8},
          {"bits_weights", 4},
          {"bits_bias", 8},
          {"batch_norm_folding", folding}};
}

void train(Module& model, Optimizer& optimizer, int steps) {
  const int32_t labels[] = {0, 1, 2, 3, 4, 0};
  for (int k = 0; k < steps; ++k) {
    optimizer.zero_grad();
    Tape tape;
    const Tape::Recording recording(tape);
    tape.backward(softmax_cross_entropy(model(images(static_cast<uint64_t>(100 + k))), labels));
    optimizer.step();
  }
}

struct Trained {
  ModulePtr model = conv_net();
  std::unique_ptr<Quantizer> quantizer;
  Sgd optimizer{{.lr = 0.05f, .momentum = 0.9f}};
  explicit Trained(const Json& config, int steps = 5) : quantizer(quantizer_of(config)) {
    optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
    quantizer->prepare(model, &optimizer, images(1));
    train(*model, optimizer, steps);
    model->set_training(false);
  }
};

}  // namespace

TEST_CASE("golden 08: training with simulated folding, evaluation, and folding for good") {
  for_each_case("08_batch_norm_folding", [](const Json&, const Json& c) {
    if (c.at("kind") != "SimulatedFoldedBatchNorm") return skipped("of folding for inference");
    const auto module = build(c.at("inputs"));
    const Json &steps = c.at("inputs").at("steps"), &expected = c.at("expected");
    ModulePtr folded;
    for (size_t k = 0; k < steps.size(); ++k) {
      INFO("step " << k);
      const Json &step = steps[k], &wanted = expected.at("steps").at(k);
      const std::string phase = step.at("phase");
      // Every step begins where the file's does: the largest weight lies on a tie, whose side a last bit decides.
      if (k > 0) set_running(*module, expected.at("steps").at(k - 1));
      Tensor x = activation(step.at("x")), y;
      if (phase == "train") {
        for (Parameter* p : all_parameters(*module)) p->raw().set_grad({});
        x.set_requires_grad(true);
        Tape tape;
        const Tape::Recording recording(tape);
        y = (*module)(x);
        tape.backward(test::weighted_sum(y, activation(step.at("g"))));
        check_gradients(*module, x, wanted);
      } else {
        module->set_training(false);
        y = (*module)(x);
        if (phase != "eval") {
          folded = module->take_folded();
          CHECK(test::bits((*folded)(x)) == test::bits(y));
        }
      }
      CHECK(difference(file_activation(y), tensor(wanted.at("output")), kFolding) == "");
      CHECK(difference(module->norm().running_mean(), tensor(wanted.at("running_mean")), kFolding) == "");
      CHECK(difference(module->norm().running_var(), tensor(wanted.at("running_var")), kFolding) == "");
    }
    CHECK(params_difference(*folded, expected.at("params_after_freeze"), kFolding) == "");
    return kCompared;
  });
}

TEST_CASE("without quantization simulated folding is the layer with its batch norm") {
  SimulatedFoldedBatchNorm simulated(std::make_unique<Conv2d>(square_conv(3, 8, 3, 1, 1)),
                                     std::make_unique<BatchNorm2d>(8));
  Conv2d conv(square_conv(3, 8, 3, 1, 1));
  BatchNorm2d norm(8);
  const auto fill = [](Module& module) {
    for (Parameter* p : all_parameters(module)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  };
  for (Module* m : {static_cast<Module*>(&simulated), static_cast<Module*>(&conv), static_cast<Module*>(&norm)})
    fill(*m);
  const auto gradients = [](const std::vector<Parameter*>& parameters, const std::function<Tensor()>& forward) {
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = forward();
    tape.backward(test::weighted_sum(y, test::normal_tensor(y.shape(), 9)));
    std::vector<Tensor> all{y};
    for (const Parameter* p : parameters) all.push_back(p->raw().grad());
    return all;
  };
  const Tensor x = images(1);
  const auto ours =
      gradients({&layer_parameters(*simulated.layer).weight, &simulated.norm().weight}, [&] { return simulated(x); });
  const auto theirs = gradients({&conv.weight, &norm.weight}, [&] { return norm(conv(x)); });
  for (size_t i = 0; i < ours.size(); ++i) CHECK(difference(ours[i], theirs[i], {1e-4, 1e-4}) == "");
  CHECK(difference(simulated.norm().running_mean(), norm.running_mean()) == "");
}

TEST_CASE("frozen between steps, training computes what evaluation does, and stays that way") {
  SimulatedFoldedBatchNorm module(std::make_unique<Conv2d>(square_conv(3, 8, 3, 1, 1, /*bias=*/false)),
                                  std::make_unique<BatchNorm2d>(8));
  for (Parameter* p : all_parameters(module)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  module(images(1));
  module(images(2));
  module.set_training(false);
  const Tensor evaluated = module(images(3));
  module.set_training(true);
  const std::vector<float> mean = test::values(module.norm().running_mean());
  for (int times = 0; times < 2; ++times) {
    module.norm().set_frozen(true);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = module(images(3));
    CHECK(test::bits(y) == test::bits(evaluated));
    tape.backward(sum(y));
  }
  CHECK(test::values(module.norm().running_mean()) == mean);
  for (const Parameter* p : all_parameters(module)) CHECK(p->raw().grad().defined());
}

TEST_CASE("layers and batch norms that do not belong together are refused") {
  const auto conv = [] { return std::make_unique<Conv2d>(square_conv(3, 8, 3)); };
  CHECK_THROWS_WITH(SimulatedFoldedBatchNorm(conv(), std::make_unique<BatchNorm1d>(BatchNormConfig{.features = 8})),
                    Contains("got Conv2d with BatchNorm1d"));
  CHECK_THROWS_WITH(SimulatedFoldedBatchNorm(conv(), std::make_unique<BatchNorm2d>(4)),
                    Contains("4 features, the layer 8 outputs"));
  SimulatedFoldedBatchNorm one_value(std::make_unique<Linear>(3, 8),
                                     std::make_unique<BatchNorm1d>(BatchNormConfig{.features = 8}));
  CHECK_THROWS_WITH(one_value(Tensor::zeros({1, 3})), Contains("more than one value"));
}

TEST_CASE("the quantizer trains with simulated folding, and the folded model computes the same") {
  const bool inputs = GENERATE(false, true);
  Json simulated = quantizer_config("simulated");
  simulated["quantized_activations"] = inputs ? "inputs" : "outputs";
  Trained trained(simulated);
  CHECK(find_module(*trained.model, "conv1")->kind() == "SimulatedFoldedBatchNorm");
  CHECK(find_module(*trained.model, "bn2")->kind() == "Identity");
  CHECK(find_module(*trained.model, "fc")->kind() == (inputs ? "InputQuantizationWrapper" : "Linear"));
  CHECK(parameter_at(*trained.model, "conv1.bias").transform() != nullptr);
  const Tensor before = (*trained.model)(images(3));
  auto& quantizer = dynamic_cast<QuantAwareTrainRangeLinearQuantizer&>(*trained.quantizer);
  const Json config = quantizer.fold_trained(trained.model, images(1), simulated).json();
  CHECK(find_module(*trained.model, "conv1")->kind() == "Conv2d");
  CHECK(test::bits((*trained.model)(images(3))) == test::bits(before));

  SECTION("and is rebuilt from its state and its config") {
    ModulePtr again = conv_net();
    quantizer_of(config)->prepare(again, nullptr, images(1));
    load_state(*again, {{}, model_state(*trained.model), {}, {}});
    again->set_training(false);
    CHECK(test::bits((*again)(images(3))) == test::bits(before));
  }
}

TEST_CASE("a model with simulated folding that is prepared again loads the state and goes on alike") {
  const Trained trained(quantizer_config("simulated"));
  ModulePtr again = conv_net();
  quantizer_of(quantizer_config("simulated"))->prepare(again, nullptr, images(1));
  load_state(*again, {{}, model_state(*trained.model), {}, {}});
  again->set_training(false);
  CHECK(test::bits((*again)(images(3))) == test::bits((*trained.model)(images(3))));
}

TEST_CASE("the schedule freezes simulated batch norms") {
  Trained trained(quantizer_config("simulated"));
  const QuantScheduleConfig config{.freeze_batch_norm_from = 1};
  QuantSchedule schedule(config, *trained.model, 3);
  trained.model->set_training(true);
  const auto& norm = dynamic_cast<SimulatedFoldedBatchNorm&>(*find_module(*trained.model, "conv1")).norm();
  const auto moves = [&](int64_t epoch) {
    schedule.apply(epoch, 0, 2);
    const std::vector<float> before = test::values(norm.running_mean());
    train(*trained.model, trained.optimizer, 1);
    return test::values(norm.running_mean()) != before;
  };
  CHECK(moves(0));
  CHECK_FALSE(moves(1));
}

TEST_CASE("folding a model that was trained with its batch norms keeps its outputs close, with ranges measured again") {
  Json config = quantizer_config("none");
  config["bits_weights"] = 8;
  config["per_channel_wts"] = true;
  config.erase("bits_bias");
  Trained trained(config);
  const Tensor before = (*trained.model)(images(3));
  auto& quantizer = dynamic_cast<QuantAwareTrainRangeLinearQuantizer&>(*trained.quantizer);
  quantizer.fold_trained(trained.model, images(1), config);
  measure_ranges_again(*trained.model, [&] {
    for (uint64_t k = 0; k < 4; ++k) (*trained.model)(images(100 + k));
  });
  CHECK(fake_quant_at(*trained.model, "relu1").iter_count.item() == 4);
  const float largest = max(abs(before)).item();
  CHECK(difference((*trained.model)(images(3)), before, {0, 0.03 * largest}) == "");
}

TEST_CASE("folding for good is refused where it would do harm") {
  Sgd optimizer({.lr = 0.1f});
  ModulePtr model = conv_net();
  optimizer.add_param_group({.name = "default", .parameters = all_parameters(*model)});
  CHECK_THROWS_WITH(quantizer_of(quantizer_config("folded"))->prepare(model, &optimizer, images(1)),
                    Contains("train with \"simulated\""));
  Trained trained(quantizer_config("none"));
  auto& quantizer = dynamic_cast<QuantAwareTrainRangeLinearQuantizer&>(*trained.quantizer);
  CHECK_THROWS_WITH(quantizer.fold_trained(trained.model, images(1), quantizer_config("none")), Contains("bits_bias"));
}
