// Models trained with quantization in the loop: as integer layers, and their programs.
#include "quant/export/from_trained.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/functions.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "quant/export/every_layer.h"
#include "quant/export/lowering.h"
#include "quant/export/onnx.h"
#include "quant/export/simulation.h"
#include "quant/quantizer.h"
#include "quant/train/fake_quant.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace quant_aware_test {

using namespace qgrad;
using test::error_of;

namespace {

// A residual net with batch norms: convolutions whose ReLU is quantized, one that is added in float.
struct SmallResidual final : UnaryModule {
  std::string_view kind() const override { return "SmallResidual"; }
  Child conv1 = child<Conv2d>("conv1", square_conv(3, 8, 3, 1, 1, false)), bn1 = child<BatchNorm2d>("bn1", 8);
  Child relu1 = child<ReLU>("relu1"), pool = child<MaxPool2d>("pool", 2);
  Child conv2 = child<Conv2d>("conv2", square_conv(8, 8, 3, 1, 1, false)), bn2 = child<BatchNorm2d>("bn2", 8);
  Child add = child<EltwiseAdd>("add"), relu2 = child<ReLU>("relu2");
  Child conv3 = child<Conv2d>("conv3", square_conv(8, 12, 1)), relu3 = child<ReLU6>("relu3");
  Child conv4 = child<Conv2d>("conv4", square_conv(12, 12, 3, 1, 1)), relu4 = child<ReLU>("relu4");
  Child average = child<GlobalAvgPool2d>("average"), fc = child<Linear>("fc", 12, 5);

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor a = pool(relu1(bn1(conv1(x))));
    return fc(flatten(average(relu4(conv4(relu3(conv3(relu2(add(a, bn2(conv2(a)))))))))));
  }
};

// One ReLU called twice, behind a convolution and behind an addition.
struct SharedReLU final : UnaryModule {
  std::string_view kind() const override { return "SharedReLU"; }
  Child conv1 = child<Conv2d>("conv1", square_conv(3, 8, 3, 1, 1, false)), bn1 = child<BatchNorm2d>("bn1", 8);
  Child relu = child<ReLU>("relu"), conv2 = child<Conv2d>("conv2", square_conv(8, 8, 3, 1, 1, false));
  Child bn2 = child<BatchNorm2d>("bn2", 8), add = child<EltwiseAdd>("add");
  Child average = child<GlobalAvgPool2d>("average"), fc = child<Linear>("fc", 8, 5);

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor a = relu(bn1(conv1(x)));
    return fc(flatten(average(relu(add(a, bn2(conv2(a)))))));
  }
};

// A pooling between a ReLU and the only layer that reads it.
struct Pooled final : UnaryModule {
  std::string_view kind() const override { return "Pooled"; }
  Child conv1 = child<Conv2d>("conv1", square_conv(3, 8, 3, 1, 1, false)), bn1 = child<BatchNorm2d>("bn1", 8);
  Child relu1 = child<ReLU>("relu1"), pool = child<MaxPool2d>("pool", 2);
  Child conv2 = child<Conv2d>("conv2", square_conv(8, 8, 3, 1, 1, false)), bn2 = child<BatchNorm2d>("bn2", 8);
  Child relu2 = child<ReLU>("relu2"), average = child<GlobalAvgPool2d>("average"), fc = child<Linear>("fc", 8, 5);

 protected:
  Tensor forward(const Tensor& x) override {
    return fc(flatten(average(relu2(bn2(conv2(pool(relu1(bn1(conv1(x))))))))));
  }
};

using test::images;

// Prepared, and run in training mode so that ranges and running statistics are there. One channel's factor is negative,
// one is zero, one next to it.
ModulePtr trained(const Json& config, ModulePtr net = std::make_unique<SmallResidual>()) {
  uint64_t seed = 50;
  for (Parameter* p : all_parameters(*net))
    if (p->defined()) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, p->name() == "weight" ? 0.4f : 0.1f));
  const auto quantizer = Registry<Quantizer>::create({config, "", "quantizer"});
  quantizer->prepare(net, nullptr, images(1, 9));
  dynamic_cast<BatchNorm2d*>(find_module(*net, "bn1"))->weight.raw().mutable_data()[1] = -0.7f;
  dynamic_cast<BatchNorm2d*>(find_module(*net, "bn2"))->weight.raw().mutable_data()[2] = 0.0f;
  for (const char* path : {"bn1", "bn2"}) {
    auto& norm = dynamic_cast<BatchNorm2d&>(*find_module(*net, path));
    norm.weight.raw().mutable_data()[3] = 1e-10f;
    norm.bias.raw().mutable_data()[3] = 0.2718f;
  }
  net->set_training(true);
  for (uint64_t i = 0; i < 3; ++i) (*net)(images(16, i + 1));
  net->set_training(false);
  return net;
}

const std::vector<Json>& quantizers() {
  static const std::vector<Json> all = [] {
    std::vector<Json> list;
    for (const char* name :
         {"PACTQuantizer", "DorefaQuantizer", "WRPNQuantizer", "LSQQuantizer", "LSQPlusQuantizer", "TQTQuantizer"})
      for (const int bits : {8, 4, 2})
        list.push_back({{"class", name}, {"bits_activations", bits}, {"bits_weights", bits}});
    for (const char* key : {"per_channel_wts", "midrise_wts"})
      for (const int bits : {8, 4, 2})
        list.push_back({{"class", "LSQQuantizer"}, {"bits_activations", bits}, {"bits_weights", bits}, {key, true}});
    for (const bool per_channel : {false, true})
      for (const char* mode : {"SYMMETRIC", "ASYMMETRIC_UNSIGNED"})
        for (const int bits : {8, 4})
          list.push_back({{"class", "QuantAwareTrainRangeLinearQuantizer"},
                          {"bits_activations", bits},
                          {"bits_weights", bits},
                          {"mode", mode},
                          {"per_channel_wts", per_channel}});
    for (size_t i = 0, outputs = list.size(); i < outputs; ++i) {
      list.push_back(list[i]);
      list.back()["quantized_activations"] = "inputs";
    }
    list.push_back(list.back());  // layers in float that read numbers on a grid
    list.back()["overrides"] = {{"conv4|fc", {{"bits_weights", nullptr}}}};
    return list;
  }();
  return all;
}

float largest_difference(const Tensor& a, const Tensor& b) {
  float largest = 0;
  for (size_t i = 0; i < a.data().size(); ++i) largest = std::max(largest, std::fabs(a.data()[i] - b.data()[i]));
  return largest;
}

// Images whose outputs differ by more than rounding: a number that lies between two levels may go to the other one.
int64_t images_differing(const Tensor& before, const Tensor& after) {
  float largest = 0;
  for (const float y : before.data()) largest = std::max(largest, std::fabs(y));
  int64_t differing = 0;
  for (int64_t image = 0; image < before.dim(0); ++image)
    differing +=
        largest_difference(slice(before, 0, image, image + 1), slice(after, 0, image, image + 1)) > largest * 1e-5f;
  return differing;
}

}  // namespace

TEST_CASE("a trained quantized model as integer layers gives what it gave") {
  for (const Json& config : quantizers())
    for (const bool shared : {false, true}) {
      INFO(config.dump() << (shared ? ", a shared ReLU" : ""));
      ModulePtr model = shared ? trained(config, std::make_unique<SharedReLU>()) : trained(config);
      const Tensor x = images(8, 5), before = (*model)(x);
      deploy::to_integer_layers(model, images(1, 6));
      CHECK(images_differing(before, (*model)(x)) <= 1);
    }
}

TEST_CASE("ranges that begin above zero cut off what lies below them in integers, too") {
  for (const char* quantized : {"outputs", "inputs"}) {
    INFO(quantized);
    ModulePtr model = trained({{"class", "QuantAwareTrainRangeLinearQuantizer"},
                               {"bits_activations", 8},
                               {"bits_weights", 8},
                               {"mode", "ASYMMETRIC_UNSIGNED"},
                               {"quantized_activations", quantized}});
    int64_t ranges = 0;
    visit_modules(*model, [&](Module& module) {
      auto* range = dynamic_cast<FakeLinearQuantization*>(&module);
      if (!range || range->tracked_min.item() < 0) return;
      range->set_range({range->tracked_max.item() * 0.31f, range->tracked_max.item()});
      ++ranges;
    });
    CHECK(ranges >= 3);
    const Tensor x = images(8, 5), before = (*model)(x);
    deploy::to_integer_layers(model, images(1, 6));
    CHECK(images_differing(before, (*model)(x)) <= 1);
    const deploy::Program program = deploy::lower(*model, images(1, 6)).program;
    const test::Agreement agreement = test::compare_with_simulation(*model, deploy::Engine(program), x);
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
    CHECK(deploy::onnx_model(program, {}).size() > 1000);
  }
}

TEST_CASE("programs of trained quantized models compute the integer layers' integers") {
  for (const Json& config : quantizers()) {
    INFO(config.dump());
    ModulePtr model = trained(config);
    deploy::to_integer_layers(model, images(1, 6));
    const deploy::Program program = deploy::lower(*model, images(1, 6)).program;
    const test::Agreement agreement = test::compare_with_simulation(*model, deploy::Engine(program), images(6, 7));
    INFO("first layer that differs: " << agreement.first);
    CHECK(agreement.layers >= (config.contains("quantized_activations") ? 1 : 3));
    CHECK(agreement.integers > 0);
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
    CHECK(deploy::onnx_model(program, {}).size() > 1000);
  }
}

TEST_CASE("a function of floats is refused with what to do about it") {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3)));
  net->add("silu", std::make_unique<SiLU>());
  net->set_training(false);
  CHECK_THAT(error_of([&] { deploy::lower(*net, images(1, 6)); }),
             Contains("silu") && Contains("a function of floats has no form") && Contains("quantize what it reads"));
}

TEST_CASE("float layers whose sums become integers are known by name") {
  const auto names = [](Json config) {
    config.update({{"bits_activations", 4}, {"bits_weights", 4}});
    ModulePtr model = trained(config);
    deploy::to_integer_layers(model, images(1, 6));
    return deploy::float_sums_before_integers(deploy::lower(*model, images(1, 6)).program);
  };
  CHECK(names({{"class", "LSQQuantizer"}}) == std::vector<std::string>{"conv1"});
  CHECK(names({{"class", "PACTQuantizer"}, {"quantized_activations", "inputs"}}).front() == "conv1");
  CHECK(names({{"class", "QuantAwareTrainRangeLinearQuantizer"}}).empty());
}

TEST_CASE("a ReLU whose numbers only one quantized layer reads is the lower limit of a requantization") {
  for (const char* quantized : {"outputs", "inputs"}) {
    ModulePtr model = trained({{"class", "LSQQuantizer"},
                               {"bits_activations", 4},
                               {"bits_weights", 4},
                               {"quantized_activations", quantized}});
    deploy::to_integer_layers(model, images(1, 6));
    const deploy::Program program = deploy::lower(*model, images(1, 6)).program;
    std::vector<deploy::OpKind> of_conv3;
    int64_t clamps = 0;  // what is left of ReLUs
    for (const deploy::Op& op : program.ops) {
      if (program.tensors[static_cast<size_t>(op.output)].name == "conv3") of_conv3.push_back(op.kind);
      clamps += op.kind == deploy::OpKind::clamp;
    }
    INFO(quantized);
    CHECK(of_conv3 == std::vector{deploy::OpKind::conv});
    CHECK(clamps ==
          (quantized == std::string("inputs") ? 3 : 0));  // relu1 and relu2 have two readers, relu4 an average
  }
}

TEST_CASE("a pooling of the largest between a ReLU and its quantization works on the layer's integers") {
  for (const int bits : {8, 4, 2}) {
    INFO(bits << " bits");
    ModulePtr model = trained({{"class", "LSQQuantizer"},
                               {"bits_activations", bits},
                               {"bits_weights", bits},
                               {"quantized_activations", "inputs"}},
                              std::make_unique<Pooled>());
    const Tensor x = images(8, 5), before = (*model)(x);
    deploy::to_integer_layers(model, images(1, 6));
    const deploy::Program program = deploy::lower(*model, images(1, 6)).program;
    const auto pool = std::ranges::find(program.ops, deploy::OpKind::max_pool, &deploy::Op::kind);
    REQUIRE(pool != program.ops.end());
    CHECK(program.tensors[static_cast<size_t>(pool->inputs[0])].type == deploy::Type::byte);
    const test::Agreement agreement = test::compare_with_simulation(*model, deploy::Engine(program), x);
    CHECK(agreement.integers > 0);
    CHECK(agreement.differing == 0);
    CHECK(agreement.logits_differing == 0);
    CHECK(images_differing(before, (*model)(x)) <= 1);
  }
}

namespace {

Json uneven(const char* quantizer, int bits_weights, int bits_activations, const char* quantized) {
  return {{"class", quantizer},
          {"bits_weights", bits_weights},
          {"bits_activations", bits_activations},
          {"quantized_activations", quantized}};
}

}  // namespace

TEST_CASE("levels that are not evenly spaced are integers of a finer grid, and tables") {
  for (const auto& [quantizer, bits] : {std::pair("APoTQuantizer", 3),
                                        {"APoTQuantizer", 4},
                                        {"APoTQuantizer", 5},
                                        {"N2UQQuantizer", 2},
                                        {"N2UQQuantizer", 3},
                                        {"N2UQQuantizer", 4}})
    for (const char* quantized : {"outputs", "inputs"}) {
      INFO(quantizer << ", " << bits << " bits, " << quantized);
      ModulePtr model = trained(uneven(quantizer, bits, bits, quantized));
      for (Parameter* p : all_parameters(*model))
        if (p->name() == "intervals") p->set_raw(test::uniform_tensor(p->raw().shape(), 8, 0.1f, 1));
      deploy::to_integer_layers(model, images(1, 6));
      const deploy::Program program = deploy::lower(*model, images(1, 6)).program;
      const test::Agreement agreement = test::compare_with_simulation(*model, deploy::Engine(program), images(6, 7));
      INFO("first layer that differs: " << agreement.first);
      CHECK(agreement.integers > 0);
      CHECK(agreement.differing == 0);
      CHECK(agreement.logits_differing == 0);
      CHECK(std::ranges::count(program.ops, deploy::OpKind::lookup, &deploy::Op::kind) > 0);
      CHECK(deploy::onnx_model(program, {}).size() > 1000);
    }
}

TEST_CASE("sums become the level that training gives them, where no float layer stands before it") {
  for (const int bits : {3, 4, 5}) {
    INFO(bits << " bits");
    Json config = uneven("APoTQuantizer", bits, bits, "inputs");
    config["overrides"] = {{"fc", {{"bits_weights", nullptr}, {"bits_activations", nullptr}}}};  // it reads float means
    ModulePtr model = trained(config, std::make_unique<Pooled>());
    const std::vector<float> levels =
        dynamic_cast<Quantization&>(*find_module(*model, "conv1.input_quant.fake_q")).levels().values;
    Tensor x = test::uniform_tensor({16, 8, 8, 3}, 5, 0, static_cast<float>(levels.size()) - 0.01f);
    for (float& value : x.mutable_data()) value = levels[static_cast<size_t>(value)];
    const Tensor before = (*model)(x);
    deploy::to_integer_layers(model, images(1, 6));
    CHECK(images_differing(before, (*model)(x)) <= 1);
  }
}

TEST_CASE("thresholds beyond an activation's bound are not crossed in programs either") {
  ModulePtr model = trained(uneven("N2UQQuantizer", 2, 2, "inputs"));
  for (Parameter* p : all_parameters(*model)) {
    // The last threshold is 6.5, the bound 6.
    if (p->path() == "conv4.input_quant.fake_q.intervals") p->set_raw(Tensor::from({3}, std::array{1.0f, 3.0f, 5.0f}));
    if (p->path() == "conv3.bias") p->set_raw(Tensor::full({12}, 6.3f));
  }
  const Tensor x = images(16, 7), before = (*model)(x);
  deploy::to_integer_layers(model, images(1, 6));
  CHECK(images_differing(before, (*model)(x)) <= 1);
}

TEST_CASE("levels that are no integers of 8 bits are refused with the layer") {
  const auto refused = [](int bits_weights, int bits_activations) {
    ModulePtr model = trained(uneven("APoTQuantizer", bits_weights, bits_activations, "outputs"));
    return error_of([&] {
      deploy::to_integer_layers(model, images(1, 6));
      deploy::lower(*model, images(1, 6));
    });
  };
  CHECK_THAT(refused(8, 4), Contains("conv") && Contains("no multiples of a 255th of the largest"));
  CHECK_THAT(refused(4, 6), Contains("relu") && Contains("need more than 8 bits"));
}

TEST_CASE("a float model becomes a program of float operations with the same results") {
  ModulePtr model = std::make_unique<SmallResidual>();
  model->set_training(false);
  deploy::to_integer_layers(model, images(1, 6));
  const deploy::Engine engine(deploy::lower(*model, images(1, 6)).program);
  const Tensor x = images(4, 7), expected = (*model)(x);
  std::vector<float> output(20);
  engine.run(x.data(), output);
  CHECK(largest_difference(expected, Tensor::from({4, 5}, output)) < 1e-5f);
}

}  // namespace quant_aware_test
