// PostTrainLinearQuantizer where golden files do not reach: what is computed and what is left alone, state and its
// rebuilding.
#include "quant/post_train/linear.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"
#include "nn/fold.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "quant/post_train/quantized_net.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace post_train_linear_test {

using namespace qgrad;
using namespace qgrad::test::post_train;
using test::error_of;

namespace {

bool same(const Tensor& a, const Tensor& b) { return test::bits(a.data()) == test::bits(b.data()); }

float largest_difference(const Tensor& a, const Tensor& b) {
  float largest = 0;
  for (size_t i = 0; i < a.data().size(); ++i) largest = std::max(largest, std::fabs(a.data()[i] - b.data()[i]));
  return largest;
}

// Two convolutions of one input, added.
struct TwoBranches final : Module {
  TwoBranches() { set_training(false); }
  std::string_view kind() const override { return "TwoBranches"; }
  Child a = child<Conv2d>("a", square_conv(3, 4, 1)), b = child<Conv2d>("b", square_conv(3, 4, 1)),
        add = child<EltwiseAdd>("add");

 protected:
  Tensor forward(Inputs x) override {
    const Tensor first = a(x[0]), second = b(x[0]);
    return add(first, second);
  }
};

ModulePtr two_branches() {
  auto net = std::make_unique<TwoBranches>();
  uint64_t seed = 20;
  for (Parameter* p : all_parameters(*net))
    p->set_raw(Tensor::from(p->raw().shape(), test::normal_values(static_cast<size_t>(p->raw().numel()), seed++)));
  return net;
}

const RangeLinearQuantWrapper& wrapper_at(Module& model, const char* path) {
  return dynamic_cast<const RangeLinearQuantWrapper&>(*find_module(model, path));
}

}  // namespace

TEST_CASE("a net quantized to 8 bits stays close to the float net, static and dynamic") {
  const Tensor expected = (*make_net())(images(3));
  for (const char* mode : {"SYMMETRIC", "SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED"}) {
    INFO(mode);
    CHECK(largest_difference((*quantized({{"mode", mode}}))(images(3)), expected) < 0.1f);
    CHECK(largest_difference((*quantized_dynamically({{"mode", mode}}))(images(3)), expected) < 0.1f);
  }
}

TEST_CASE("levels around zero quantize weights of few bits with less error, and activations not at all") {
  const auto error_of_weights = [](const char* mode) {
    const ModulePtr model = quantized({{"bits_weights", 2},
                                       {"mode", {{"weights", mode}}},
                                       {"per_channel_wts", true},
                                       {"clip_acts", "MSE"},
                                       {"also_clip_weights", true}});
    const auto& conv = dynamic_cast<const RangeLinearQuantParamLayerWrapper&>(wrapper_at(*model, "conv2"));
    const ModulePtr net = make_net();
    return mean(square(sub(conv.weight().dequantized(), layer_parameters(*find_module(*net, "conv2")).weight.raw())))
        .item();
  };
  CHECK(error_of_weights("SYMMETRIC_MIDRISE") < 0.85f * error_of_weights("SYMMETRIC"));
  CHECK(error_of_weights("SYMMETRIC_MIDRISE") < error_of_weights("ASYMMETRIC_UNSIGNED"));
  const char* kNoZero = "SYMMETRIC_MIDRISE has no level at zero, which activations need; it is for {\"weights\": ..}";
  CHECK_THAT(error_of([] { quantizer({{"mode", "SYMMETRIC_MIDRISE"}}); }), Contains(kNoZero));
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"conv2", {{"mode", {{"activations", "SYMMETRIC_MIDRISE"}}}}}}}});
             }),
             Contains(kNoZero) && Contains("overrides.conv2.mode"));
  CHECK_THAT(error_of([] {
               quantized({{"overrides", {{"conv2", {{"input_overrides", {{"0", {{"mode", "SYMMETRIC_MIDRISE"}}}}}}}}}});
             }),
             Contains(kNoZero));
}

TEST_CASE("a quantized model refuses to be trained") {
  const ModulePtr net = quantized(Json::object());
  net->set_training(true);
  CHECK_THAT(error_of([&] { (*net)(images(1)); }), Contains("can not be trained") && Contains("conv1"));
}

TEST_CASE("a ReLU6 that is computed in the layer before it still stops at 6") {
  const ModulePtr net = quantized_dynamically(Json::object(), make_net(std::make_unique<ReLU6>()));
  REQUIRE(kind_at(*net, "relu1") == "Identity");
  const Tensor y = find_module(*net, "conv1")->call(std::vector{images(1, 40.0f)});
  CHECK(*std::ranges::max_element(y.data()) == Approx(6).epsilon(0.01));
  CHECK(*std::ranges::min_element(y.data()) == 0);
}

TEST_CASE("fpq_module computes a layer in half precision and leaves its output in float") {
  const ModulePtr net =
      quantized({{"overrides", {{"conv2", {{"fpq_module", 16}}}, {"fc", {{"fpq_module", 16}, {"fake", true}}}}}});
  CHECK(kind_at(*net, "conv2") == "FPWrapper");
  CHECK(kind_at(*net, "fc") == "RangeLinearFakeQuantWrapper");
  for (const float w : all_parameters(*find_module(*net, "conv2"))[0]->raw().data()) CHECK(round_to_half(w) == w);
  CHECK_FALSE(find_module(*net, "conv2")->call(std::vector{Tensor::zeros({1, 6, 6, 4})}).grid().has_value());
  CHECK(largest_difference((*net)(images(3)), (*make_net())(images(3))) < 0.1f);
}

TEST_CASE("an input that no layer has quantized is an error where the fallback is off") {
  const ModulePtr net = quantized({{"inputs_quant_auto_fallback", false}});
  CHECK_THAT(error_of([&] { (*net)(images(1)); }), Contains("input 0 is not quantized") && Contains("conv1"));
  const ModulePtr named =
      quantized({{"inputs_quant_auto_fallback", false},
                 {"overrides", {{"conv1", {{"input_overrides", {{"0", {{"from_output", true}}}}}}}}}});
  CHECK_NOTHROW((*named)(images(1)));
}

TEST_CASE("a tensor with two consumers is quantized as the first one says, and stays as it was for the caller") {
  ModulePtr net = two_branches();
  const auto q = quantizer({{"overrides", {{"b", {{"bits_activations", 4}}}}}});
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  const Tensor x = images(3);
  (*net)(x);
  CHECK_FALSE(x.grid().has_value());
  CHECK(wrapper_at(*net, "b").quantization().inputs[0].shared);
  CHECK(wrapper_at(*net, "b").input_grid(0, x) == wrapper_at(*net, "a").input_grid(0, x));
}

TEST_CASE("an addition without statistics stays in float") {
  const ModulePtr net = quantized_dynamically(Json::object(), two_branches());
  CHECK(kind_at(*net, "add") == "EltwiseAdd");
  CHECK(kind_at(*net, "a") == "RangeLinearQuantParamLayerWrapper");
}

TEST_CASE("the report of layers tells what each one got") {
  const ModulePtr net = quantized(
      {{"per_channel_wts", true}, {"overrides", {{"fc", {{"bits_weights", 5}, {"mode", "ASYMMETRIC_SIGNED"}}}}}});
  const Json layers = layer_quant_params(*net);
  CHECK(layers.size() == 4);  // conv1, conv2, flat, fc
  CHECK(layers.at("fc").at("weight").at("bits") == 5);
  CHECK(layers.at("fc").at("output").at("mode") == "ASYMMETRIC_SIGNED");
  CHECK(layers.at("conv1").at("weight").at("scale").size() == 4);
  CHECK(layers.at("conv1").at("relu") == "ReLU");
  CHECK(layers.at("conv2").at("output").at("scale").get<float>() == wrapper_at(*net, "conv2").output_grid()->scale);
}

TEST_CASE("a quantized model rebuilt from its checkpoint computes the same bits") {
  const std::filesystem::path file = std::filesystem::temp_directory_path() / "qgrad_post_train_rebuilt.safetensors";
  for (const bool is_static : {true, false}) {
    INFO((is_static ? "static" : "dynamic"));
    const Json resolved = Registry<Quantizer>::resolve({{{"class", "PostTrainLinearQuantizer"},
                                                         {"rounding", is_static ? "onnx" : "distiller"},
                                                         {"per_channel_wts", true},
                                                         {"mode", "ASYMMETRIC_SIGNED"},
                                                         {"clip_acts", "KL"}},
                                                        "",
                                                        "quantizer"});
    auto q = Registry<Quantizer>::create({resolved, "", "quantizer"});
    ModulePtr net = make_net();
    if (is_static) dynamic_cast<PostTrainLinearQuantizer&>(*q).set_stats(stats_of(*net));
    q->prepare(net, nullptr, images(1));
    if (is_static) named_quant_param(*net, "conv2.output_clipping").set(std::vector{-1.0f, 1.5f});
    save_checkpoint(file, *net, {{"quantizer", q->self_contained(resolved).json()}});

    const Checkpoint checkpoint = read_checkpoint(file);
    ModulePtr again = make_net();
    for (Parameter* p : all_parameters(*again)) p->set_raw(Tensor::zeros(p->raw().shape()));
    Registry<Quantizer>::create({checkpoint.config.at("quantizer"), "", "quantizer"})
        ->prepare(again, nullptr, Tensor::zeros({1, 6, 6, 3}));
    load_state(*again, checkpoint);
    CHECK(same((*again)(images(3)), (*net)(images(3))));
  }
  std::filesystem::remove(file);
}

TEST_CASE("integers that a checkpoint can not hold, given the bits, are refused with their place") {
  ModulePtr net = make_net();
  auto q = quantizer({{"bits_weights", 4}});
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  CHECK_NOTHROW(check_numbers(*net, "the model"));
  for (Parameter* p : all_parameters(*net))
    if (p->path() == "conv2.weight") p->raw().mutable_data()[3] = 9;
  CHECK_THAT(error_of([&] { check_numbers(*net, "the model"); }),
             Contains("conv2.weight: number 3 is 9, expected one from -8 to 7"));
}

}  // namespace post_train_linear_test
