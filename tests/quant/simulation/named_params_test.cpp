// Scales, zero points and clipping values by name: the golden parameter search, round trips, errors.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "quant/post_train/linear.h"
#include "quant/post_train/post_train_golden.h"
#include "quant/ranges/reductions.h"
#include "quant/simulation/embedding.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/golden_net.h"
#include "support/values.h"

using namespace qgrad;
using namespace qgrad::golden;
using test::error_of;

namespace {

constexpr const char* kFamily = "09_parameter_search";

std::vector<float> numbers(const Json& value) {
  std::vector<float> all;
  for (const Json& one : value.is_array() ? value : Json::array({value})) all.push_back(number(one));
  return all;
}

std::string difference_of(const std::vector<float>& actual, const Json& expected) {
  const std::vector<float> values = numbers(expected);
  if (actual.size() != values.size()) return fmt::format("{} values, not {}", actual.size(), values.size());
  for (size_t i = 0; i < values.size(); ++i)
    if (const std::string d = difference(actual[i], values[i]); !d.empty()) return d;
  return "";
}

// The first case of each net defines it, in whichever file of the family that is.
Json net_definition(const Json& name) {
  for (const auto& [file, content] : load_all(kFamily))
    for (const Json& golden_case : content.at("cases"))
      if (golden_case.contains("net_definition") && golden_case.at("net") == name) return golden_case["net_definition"];
  throw Error("no definition of the net");
}

struct Prepared {
  ModulePtr model;
  LinearQuantMode mode{};
};
Prepared prepare(const Json& net, const Json& inputs) {
  const Json config = {{"rounding", "distiller"},
                       {"bits_activations", inputs.at("bits_activations")},
                       {"bits_weights", inputs.at("bits_parameters")},
                       {"mode", inputs.at("mode")},
                       {"save_fp_weights", inputs.at("save_fp_weights")}};
  const auto read = read_config<PostTrainLinearConfig>({config, "", "quantizer"});
  PostTrainLinearQuantizer quantizer(read);
  quantizer.set_stats(stats_from_json(stats_object(net.at("calibration_stats")), "golden statistics"));
  Prepared p{build_net(net), read.layers.mode.activations};
  quantizer.prepare(p.model, nullptr, net_inputs(net.at("test_inputs")[0]));
  p.model->set_training(false);
  return p;
}

// Distiller reads a clipping value as the largest integer's value; ours is the one that gives the same scale when set.
float largest_value(Module& model, const std::string& clipping_name, LinearQuantMode mode, int bits) {
  const size_t end = clipping_name.rfind("clipping");
  const std::string layer = clipping_name.substr(0, clipping_name.rfind('.') + 1);
  const std::string scale =
      clipping_name.ends_with("weight_clipping") ? layer + "w_scale" : clipping_name.substr(0, end) + "scale";
  return representable_range(grid_of({named_quant_param(model, scale).get()[0]}, {.bits = bits, .mode = mode})).max;
}

// In PyTorch's layout.
Tensor weight_q(Module& module) {
  if (const auto* embedding = dynamic_cast<RangeLinearEmbeddingWrapper*>(&module)) return embedding->weight().q();
  const Tensor& q = dynamic_cast<RangeLinearQuantParamLayerWrapper&>(module).weight().q();
  return to_file_layout(q, q.rank() == 4 ? Layout::conv : Layout::linear);
}

void check_state(Module& model, const Json& modules) {
  for (const auto& item : modules.items()) {
    const std::string& name = item.key();
    const Json& expected = item.value();
    INFO("module " << name);
    const auto check_value = [&](const char* param, const Json& value) {
      CHECK(difference_of(named_quant_param(model, name + "." + param).get(), value) == "");
    };
    if (expected.contains("output")) {
      check_value("output_scale", expected["output"].at("scale"));
      check_value("output_zero_point", expected["output"].at("zero_point"));
    }
    if (expected.contains("w_scale")) {
      check_value("w_scale", expected["w_scale"]);
      check_value("w_zero_point", expected.at("w_zero_point"));
      CHECK(difference(weight_q(*find_module(model, name)), tensor(expected.at("weight_q")), kExact) == "");
    }
  }
}

void check_parameter_case(const Json& golden_case) {
  const Json net = net_definition(golden_case.at("net"));
  const Json& inputs = golden_case.at("inputs");
  const Prepared p = prepare(net, inputs);
  const bool clipping = golden_case.at("how") == "clipping";

  size_t free = 0;
  for (const NamedQuantParam& param : named_quant_params(*p.model))
    free += param.free && param.name.ends_with("clipping") == clipping;
  CHECK(free == inputs.at("initial").size());
  for (const auto& [name, initial] : inputs.at("initial").items()) {
    INFO(name);
    const NamedQuantParam param = named_quant_param(*p.model, name);
    CHECK(param.free);
    const int bits = inputs.at(name.ends_with("weight_clipping") ? "bits_parameters" : "bits_activations");
    if (clipping && is_symmetric(p.mode))
      CHECK(difference(largest_value(*p.model, name, p.mode, bits), number(initial)) == "");
    else
      CHECK(difference_of(param.get(), initial) == "");
  }

  for (const auto& [name, value] : inputs.at("new").items()) named_quant_param(*p.model, name).set(numbers(value));
  const Json& expected = golden_case.at("expected");
  check_state(*p.model, expected.at("modules"));
  check_post_train_forward(*p.model, net.at("test_inputs")[0], expected.at("forward"),
                           expected.at("near_ties").get<int64_t>());
  const Tensor output = p.model->call(net_inputs(net.at("test_inputs")[0])), original = tensor(net.at("float_output"));
  for (const int power : {1, 2, 3})
    CHECK(difference(lp_loss(output.data(), original.data(), power),
                     real(expected.at("losses_against_float").at(fmt::format("l{}", power))), {1e-4, 1e-6}) == "");
}

ModulePtr quantized(Json config) {
  auto net = std::make_unique<Sequential>();
  net->add("conv", std::make_unique<Conv2d>(square_conv(3, 4, 3)))
      .add("relu", std::make_unique<ReLU>())
      .add("flat", std::make_unique<Flatten>())
      .add("fc", std::make_unique<Linear>(16, 2));
  uint64_t seed = 1;
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++));
  const Tensor images = test::normal_tensor({3, 4, 4, 3}, 9);
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({std::move(config), "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*net, [&] { (*net)(images); }));
  ModulePtr model = std::move(net);
  quantizer.prepare(model, nullptr, images);
  model->set_training(false);
  return model;
}

}  // namespace

TEST_CASE("golden 09: losses, and nets whose scales or clipping values were set by name") {
  for_each_case(kFamily, [](const Json&, const Json& golden_case) {
    if (golden_case.at("kind") == "lp_loss") {
      const Json& in = golden_case.at("inputs");
      const Tensor x = tensor(in.at("x")), y = tensor(in.at("y"));
      CHECK(difference(lp_loss(x.data(), y.data(), real(in.at("p"))), real(golden_case.at("expected").at("loss"))) ==
            "");
    } else {
      check_parameter_case(golden_case);
    }
    return kCompared;
  });
}

TEST_CASE("a quantization parameter that is set to what it was changes nothing, in every mode and per channel") {
  const Tensor images = test::normal_tensor({2, 4, 4, 3}, 5);
  for (const char* mode : {"SYMMETRIC", "SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED"})
    for (const bool per_channel : {false, true}) {
      const ModulePtr model = quantized({{"mode", mode}, {"per_channel_wts", per_channel}, {"save_fp_weights", true}});
      for (const NamedQuantParam& param : named_quant_params(*model)) {
        INFO(mode << " " << param.name);
        const std::vector<float> before = param.get();
        param.set(before);
        const std::vector<float> after = param.get();
        REQUIRE(after.size() == before.size());
        for (size_t i = 0; i < before.size(); ++i) CHECK(after[i] == Approx(before[i]).epsilon(1e-5).margin(1e-6));
      }
    }
}

TEST_CASE("a weight's scale that is set quantizes the weight again, one scale for each channel") {
  const ModulePtr model = quantized({{"mode", "SYMMETRIC"}, {"per_channel_wts", true}, {"save_fp_weights", true}});
  const auto& conv = dynamic_cast<RangeLinearQuantParamLayerWrapper&>(*find_module(*model, "conv"));
  const Tensor before = conv.weight().q().clone();
  const NamedQuantParam scale = named_quant_param(*model, "conv.w_scale");
  std::vector<float> values = scale.get();
  REQUIRE(values.size() == 4);
  values[2] /= 2;
  scale.set(values);
  for (size_t i = 0; i < before.data().size(); ++i)
    CHECK(conv.weight().q().data()[i] == Approx(i % 4 == 2 ? before.data()[i] / 2 : before.data()[i]).margin(0.51));
}

TEST_CASE("clipping values that are set bound the layer's output and its weights") {
  for (const char* mode : {"SYMMETRIC_RESTRICTED", "ASYMMETRIC_UNSIGNED", "ASYMMETRIC_SIGNED"}) {
    INFO(mode);
    const ModulePtr model = quantized({{"mode", mode}, {"save_fp_weights", true}});
    const bool one = std::string(mode).starts_with("SYM");
    named_quant_param(*model, "fc.output_clipping").set(one ? std::vector{0.25f} : std::vector{-0.25f, 0.25f});
    named_quant_param(*model, "fc.weight_clipping").set(one ? std::vector{0.5f} : std::vector{-0.5f, 0.5f});
    named_quant_param(*model, "conv.output_clipping").set(std::vector{1.0f});  // a ReLU follows: from 0
    const Tensor y = (*model)(test::normal_tensor({2, 4, 4, 3}, 5, 10.0f));
    CHECK(*std::ranges::max_element(y.data()) <= 0.26f);
    const auto& fc = dynamic_cast<RangeLinearQuantParamLayerWrapper&>(*find_module(*model, "fc"));
    CHECK(*std::ranges::max_element(fc.weight().dequantized().data()) == Approx(0.5).margin(0.01));
    CHECK(*std::ranges::min_element(fc.weight().dequantized().data()) == Approx(-0.5).margin(0.01));
  }
}

TEST_CASE("quantization parameters that make no sense are errors that name the parameter") {
  const ModulePtr model = quantized({{"mode", {{"activations", "ASYMMETRIC_UNSIGNED"}, {"weights", "SYMMETRIC"}}}});
  const auto set = [&](const char* name, std::vector<float> values) {
    return error_of([&] { named_quant_param(*model, name).set(values); });
  };
  CHECK_THAT(set("fc.output_scal", {1}), Contains("did you mean 'fc.output_scale'"));
  CHECK_THAT(set("fc.output_scale", {0}), Contains("fc.output_scale: expected a positive scale, got 0"));
  CHECK_THAT(set("fc.output_scale", {NAN}), Contains("positive scale"));
  CHECK_THAT(set("fc.output_scale", {1, 2}), Contains("expected 1 value, got 2"));
  CHECK_THAT(set("fc.output_zero_point", {-3.5f}), Contains("expected an integer from -255 to 0, got -3.5"));
  CHECK_THAT(set("fc.output_zero_point", {-256}), Contains("from -255 to 0"));
  CHECK_THAT(set("fc.output_clipping", {1}), Contains("expected 2 values, got 1"));
  CHECK_THAT(set("fc.output_clipping", {1, -1}), Contains("expected minimum and maximum, got 1 and -1"));
  CHECK_THAT(set("conv.output_clipping", {-1}), Contains("expected a positive value"));
  CHECK_THAT(set("fc.w_zero_point", {1}), Contains("SYMMETRIC quantization has zero point 0"));
  CHECK_THAT(set("fc.w_scale", {2}), Contains("fc.weight") && Contains("save_fp_weights"));
}
