// What the quantizers with learned grids make of a model.
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/models/architecture.h"
#include "nn/optim/sgd.h"
#include "quant/small_net.h"
#include "quant/train/learned_grid.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"

using namespace qgrad;
using namespace qgrad::golden;
using test::small_input;

namespace {

ModulePtr prepared(const Json& members, Optimizer* optimizer = nullptr) {
  Json config = {{"bits_activations", 4}, {"bits_weights", 4}};
  config.update(members);
  ModulePtr model = test::small_net();
  if (optimizer) optimizer->add_param_group({.name = "default", .parameters = all_parameters(*model)});
  quantizer_of(config)->prepare(model, optimizer, small_input());
  return model;
}
LearnedQuantization& learned_at(Module& model, const std::string& path) {
  LearnedQuantization* found = nullptr;
  visit_modules(model, [&](Module& m) {
    if (m.path() == path) found = dynamic_cast<LearnedQuantization*>(&m);
  });
  REQUIRE(found);
  return *found;
}

}  // namespace

TEST_CASE("weights of zero and activations that are all zero give a grid") {
  for (const char* name : {"LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer"}) {
    INFO(name);
    const ModulePtr model = prepared({{"class", name}, {"bits_bias", 8}});
    for (Parameter* p : all_parameters(*model))
      if (p->transform()) {
        p->set_raw(Tensor::zeros(p->raw().shape()));
        dynamic_cast<LearnedQuantization&>(*p->transform()).start_from(p->raw());
      }
    const Tensor output = (*model)(Tensor::zeros({2, 4, 4, 3}));
    for (const float y : output.data()) CHECK(y == 0);
  }
}

TEST_CASE("learned grids take every activation, and weights") {
  const auto [name, kind, relu_kind] = GENERATE(
      table<std::string, std::string, std::string>({{"LSQQuantizer", "LSQQuantization", "LSQQuantization"},
                                                    {"LSQPlusQuantizer", "LSQQuantization", "FakeQuantizationWrapper"},
                                                    {"TQTQuantizer", "TQTQuantization", "TQTQuantization"},
                                                    {"APoTQuantizer", "APoTQuantization", "APoTQuantization"}}));
  INFO(name);
  const ModulePtr model =
      prepared({{"class", name}, {"overrides", {{"fc", {{"bits_weights", 8}}}, {"tanh", {{"bits_activations", 5}}}}}});
  CHECK(find_module(*model, "relu")->kind() == relu_kind);
  for (const char* path : {"relu6.fake_q", "sigmoid.fake_q", "tanh.fake_q"})
    CHECK(find_module(*model, path)->kind() == kind);
  CHECK(learned_at(*model, "relu6.fake_q").role() == Role::positive);
  CHECK(learned_at(*model, "tanh.fake_q").role() == Role::any_sign);
  CHECK(learned_at(*model, "tanh.fake_q").own_bits() == 5);
  CHECK(parameter_at(*model, "conv.weight").transform()->kind() == kind);
  CHECK_THAT(parameter_at(*model, "fc.weight").transform()->describe(), Contains("bits=8"));
  CHECK(parameter_at(*model, "conv.bias").transform() == nullptr);
}

TEST_CASE("shortcuts stay in float where the inputs of layers are quantized, the image among them") {
  const Tensor images = test::normal_tensor({2, 32, 32, 3}, 5);
  const auto distinct_values = [&](const char* quantized_activations) {
    ModulePtr model = Registry<Architecture>::create({{{"class", "resnet20"}}, "", "model"})->build(1);
    quantizer_of({{"class", "LSQQuantizer"},
                  {"bits_activations", 2},
                  {"bits_weights", 2},
                  {"bits_first_last", 8},
                  {"quantized_activations", quantized_activations}})
        ->prepare(model, nullptr, images);
    (*model)(images);
    std::map<std::string, size_t> count;
    struct Values final : CallObserver {
      explicit Values(std::map<std::string, size_t>& c) : count(c) {}
      void leave(Module& module, Inputs, const Tensor& y) override {
        count[module.path()] = std::set<float>(y.data().begin(), y.data().end()).size();
      }
      std::map<std::string, size_t>& count;
    } observer(count);
    const Observing observing(observer);
    (*model)(images);
    return count;
  };
  const std::map<std::string, size_t> outputs = distinct_values("outputs"), inputs = distinct_values("inputs");
  CHECK(outputs.at("layer1.0.relu2") <= 4);
  CHECK(inputs.at("layer1.0.relu2") > 100);
  CHECK(inputs.at("layer1.1.conv1.input_quant") <= 4);
  CHECK(inputs.at("layer2.0.downsample.0.input_quant") <= 4);
  CHECK(inputs.at("conv1.input_quant") > 16);
  CHECK(inputs.at("conv1.input_quant") <= 256);
  CHECK(inputs.at("fc.input_quant") > 4);
}

TEST_CASE("every layer that reads the image reads it with the bits of the first layer, and has its own weights") {
  struct TwoStems final : UnaryModule {
    std::string_view kind() const override { return "TwoStems"; }
    Child a = child<Linear>("a", 4, 4), b = child<Linear>("b", 4, 4), relu = child<ReLU>("relu"),
          fc = child<Linear>("fc", 4, 2);

   protected:
    Tensor forward(const Tensor& x) override {
      const Tensor first = a(x);
      return fc(relu(add(first, b(x))));
    }
  };
  ModulePtr model = std::make_unique<TwoStems>();
  const auto quantizer = quantizer_of({{"class", "LSQQuantizer"},
                                       {"bits_activations", 2},
                                       {"bits_weights", 3},
                                       {"bits_first_last", 8},
                                       {"quantized_activations", "inputs"}});
  quantizer->prepare(model, nullptr, Tensor::zeros({1, 4}));
  std::map<std::string, Bits> bits;
  for (const Quantizer::Resolved& r : quantizer->resolved()) bits[r.path] = r.bits;
  CHECK(bits.at("a") == Bits{8, 8, {}});
  CHECK(bits.at("b") == Bits{8, 3, {}});
  CHECK(bits.at("fc") == Bits{8, 8, {}});
}

TEST_CASE("a grid that cannot be is refused with the layer whose input it would quantize") {
  CHECK_THAT(test::error_of([] {
               prepared({{"class", "LSQQuantizer"}, {"bits_activations", 1}, {"quantized_activations", "inputs"}});
             }),
             Contains("1 bit has no level above zero") && Contains("in conv"));
}

TEST_CASE("evaluation before there is a grid is refused, and a checkpoint brings the grid along") {
  const std::string name =
      GENERATE("LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer", "N2UQQuantizer");
  INFO(name);
  const ModulePtr model = prepared({{"class", name}}), other = prepared({{"class", name}});
  model->set_training(false);
  CHECK(test::error_of([&] { (*model)(small_input()); }).find("no grid yet") != std::string::npos);
  model->set_training(true);
  (*model)(small_input());
  model->set_training(false);
  Checkpoint checkpoint;
  checkpoint.tensors = model_state(*model);
  load_state(*other, checkpoint);
  other->set_training(false);
  const Tensor x = test::normal_tensor({2, 4, 4, 3}, 77);
  CHECK(difference((*other)(x), (*model)(x), kExact) == "");
}

TEST_CASE("learned parameters are a group with a learning rate and a decay of their own, and stay positive") {
  Sgd optimizer({.lr = 0.1f, .weight_decay = 0.5f});
  const ModulePtr model =
      prepared({{"class", "LSQQuantizer"}, {"learned_lr_factor", 1000}, {"learned_weight_decay", 0.25}}, &optimizer);
  REQUIRE(optimizer.param_groups().size() == 2);
  const ParamGroup& group = optimizer.param_groups()[1];
  CHECK(group.name == "learned");
  CHECK(group.parameters.size() == 6);
  CHECK(group.weight_decay == 0.25f);
  CHECK(group.lr_factor == 1000);
  const int32_t labels[] = {1, 3};
  for (int step = 0; step < 5; ++step) {
    Tape tape;
    optimizer.zero_grad();
    const Tape::Recording recording(tape);
    const Tensor loss = softmax_cross_entropy((*model)(small_input()), labels);
    for (const Parameter* p : group.parameters) CHECK(p->raw().item() >= kSmallestStep);
    REQUIRE(std::isfinite(loss.item()));
    tape.backward(loss);
    optimizer.step();
  }
}

// A training that stops there is evaluated, saved and exported with the grids that training goes on with.
TEST_CASE("grids keep their meaning behind a step of the optimizer of any size") {
  for (const char* name : {"LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer", "APoTQuantizer", "N2UQQuantizer"})
    for (const float lr : {1e-2f, 1.0f, 1e6f}) {
      INFO(name << ", learning rate " << lr);
      Sgd optimizer({.lr = lr});
      const ModulePtr model = prepared({{"class", name}}, &optimizer);
      const int32_t labels[] = {1, 3};
      Tape tape;
      Tensor loss;
      {
        const Tape::Recording recording(tape);
        loss = softmax_cross_entropy((*model)(small_input()), labels);
      }
      tape.backward(loss);
      optimizer.step();
      for (const Parameter* p : optimizer.param_groups().back().parameters)
        for (const float value : p->raw().data()) CHECK((value >= p->limits().low && value <= p->limits().high));
    }
}

TEST_CASE("a checkpoint with a grid that has no meaning is refused with the layer and the number") {
  for (const auto& [name, parameter, bad] : {std::tuple("LSQQuantizer", "step", -0.1f),
                                             {"LSQQuantizer", "step", 0.0f},
                                             {"LSQPlusQuantizer", "offset", 1e7f},
                                             {"APoTQuantizer", "alpha", -1.0f},
                                             {"N2UQQuantizer", "offset", -0.5f},
                                             {"TQTQuantizer", "log2_threshold", 200.0f}}) {
    const ModulePtr model = prepared({{"class", name}});
    Checkpoint checkpoint{.file = "x.safetensors", .tensors = model_state(*model)};
    std::string spoilt;
    for (auto& [path, tensor] : checkpoint.tensors)
      if (spoilt.empty() && path.ends_with(parameter)) {
        spoilt = path;
        tensor = Tensor::full({1}, bad);
      }
    CHECK_THAT(test::error_of([&] { load_state(*model, checkpoint); }),
               Contains(fmt::format("x.safetensors: {}: number 0 is {}, expected one from", spoilt, bad)));
  }
}

TEST_CASE("bits that leave nothing but zero are refused") {
  for (const char* name : {"LSQQuantizer", "TQTQuantizer", "APoTQuantizer"})
    CHECK(test::error_of([&] {
            prepared({{"class", name}, {"bits_weights", 1}});
          }).find("expected 2 bits or more") != std::string::npos);
  CHECK(test::error_of([] {
          prepared({{"class", "APoTQuantizer"}, {"bits_weights", 9}});
        }) == "APoT: expected at most 8 bits, got 9");
}
