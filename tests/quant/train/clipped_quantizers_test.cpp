// DoReFa, WRPN and PACT: golden parameters and training runs, what they quantize, and their settings.
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "docs/quantizers/one_layer.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/optim/sgd.h"
#include "quant/ranges/reductions.h"
#include "quant/small_net.h"
#include "quant/train/clipped_activation.h"
#include "quant/train/dorefa.h"
#include "quant/train/quant_aware_train_golden.h"
#include "quant/train/sawb.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/gradcheck.h"
#include "support/values.h"
#include "support/weighted_sum.h"

namespace clipped_quantizers_test {

using namespace qgrad;
using namespace qgrad::golden;
using test::small_input;
using Floats = std::vector<float>;

namespace {

Json config_of(const std::string& quantizer, const Json& members = Json::object()) {
  Json config = {{"class", quantizer}, {"bits_activations", 4}, {"bits_weights", 4}};
  config.update(members);
  return config;
}

ModulePtr prepared(const Json& config, Optimizer* optimizer = nullptr) {
  ModulePtr model = test::small_net();
  quantizer_of(config)->prepare(model, optimizer, small_input());
  return model;
}

std::string kind_at(Module& model, const char* path) { return std::string(find_module(model, path)->kind()); }

Tensor tensor_of(const Floats& values) { return Tensor::from({static_cast<int64_t>(values.size())}, values); }

}  // namespace

TEST_CASE("golden 04b: parameters quantized as DoReFa and WRPN do") {
  for_each_case("04b_dorefa_wrpn_params", [](const Json&, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    const int bits = in.at("num_bits");
    ModulePtr quantize;
    if (c.at("fn") == "dorefa_quantize_param")
      quantize = std::make_unique<DorefaQuantizeParam>(bits);
    else
      quantize = std::make_unique<UnclampedWRPN>(bits);
    Tensor x = tensor(in.at("x"));
    Tape tape;
    const Tape::Recording recording(tape);
    x.set_requires_grad(true);
    const Tensor y = (*quantize)(x);
    CHECK(difference(y, tensor(expected.at("output"))) == "");
    tape.backward(test::weighted_sum(y, tensor(in.at("g"))));
    CHECK(difference(x.grad(), tensor(expected.at("input_grad"))) == "");
    if (c.at("fn") == "dorefa_quantize_param") return kCompared;
    // Ours: the same gradients, and the same numbers within the integers.
    OneLayer ours({{"class", "WRPNQuantizer"}, {"bits_weights", bits}, {"bits_activations", bits}},
                  std::make_unique<ReLU>());
    x.set_grad({});
    const Tensor own = ours.weights()(x);
    const ValueRange ends = representable_range(symmetric_grid(bits, 1, /*restricted=*/false));
    CHECK(difference(own, clamp(tensor(expected.at("output")), ends.min, ends.max)) == "");
    tape.backward(test::weighted_sum(own, tensor(in.at("g"))));
    CHECK(difference(x.grad(), tensor(expected.at("input_grad"))) == "");
    return kCompared;
  });
}

TEST_CASE("golden 07b: training with DoReFa, WRPN and PACT") {
  for_each_case("07b_qat_clipped", check_quant_aware_train_case);
}

TEST_CASE("on a fine grid DoReFa's gradient is that of its formula, through the maximum too") {
  const test::Function f = [](test::Inputs in) { return DorefaQuantizeParam(20)(in[0]); };
  CHECK(test::gradcheck(f, {tensor_of({-1.3f, 0.4f, -0.2f, 0.9f, 0.05f, -0.6f})}, {.step = 3e-3f}) == "");
}

TEST_CASE("DoReFa's equal maxima share the gradient") {
  Tensor weight = tensor_of({-1, -0.5f, -0.1f, 0, 0.1f, 0.5f, 1});
  Tape tape;
  const Tape::Recording recording(tape);
  weight.set_requires_grad(true);
  tape.backward(sum(DorefaQuantizeParam(3)(weight)));
  const Tensor expected = tensor_of({.551441f, 1.032634f, 1.299992f, 1.313035f, 1.299992f, 1.032634f, .551441f});
  CHECK(difference(weight.grad(), expected) == "");
}

TEST_CASE("weights of zero are levels of DoReFa like any other, and no NaN") {
  for (const int bits : {1, 2, 4}) {
    Tensor weight = Tensor::zeros({2, 3});
    Tape tape;
    const Tape::Recording recording(tape);
    weight.set_requires_grad(true);
    const Tensor y = DorefaQuantizeParam(bits)(weight);
    tape.backward(sum(y));
    const float level = bits == 1 ? 0 : 1.0f / (std::exp2f(static_cast<float>(bits)) - 1);
    CHECK(difference(y, Tensor::full({2, 3}, level)) == "");
    for (const float g : weight.grad().data()) CHECK(g == 1);
  }
}

TEST_CASE("WRPN weights stay on integers of their width, which Distiller's do not") {
  const Tensor weight = tensor_of({-2, -1, -0.4f, 0.2f, 0.4f, 1, 2});
  const float step = 1 / 1.5f;
  ModulePtr model = prepared(config_of("WRPNQuantizer", {{"bits_weights", 2}}));
  Module& wrpn = *parameter_at(*model, "fc.weight").transform();
  CHECK(difference(wrpn(weight), tensor_of({-2 * step, -2 * step, -step, 0, step, step, step})) == "");
  UnclampedWRPN distiller(2);
  CHECK(difference(distiller(weight), tensor_of({-2 * step, -2 * step, -step, 0, step, 2 * step, 2 * step})) == "");
  CHECK(wrpn.describe() == "bits=2");
}

TEST_CASE("WRPN refuses weights of one bit, and names the layer") {
  CHECK(test::error_of([] {
          prepared(config_of("WRPNQuantizer", {{"overrides", {{"fc", {{"bits_weights", 1}}}}}}));
        }).find("fc.weight: 1 bit would leave only zeros") != std::string::npos);
}

TEST_CASE("activations are clipped, weights quantized, everything else left alone") {
  const auto [quantizer, activation, weight] = GENERATE(table<std::string, std::string, std::string>(
      {{"DorefaQuantizer", "ClippedLinearQuantization", "DorefaQuantizeParam"},
       {"WRPNQuantizer", "ClippedLinearQuantization", "WRPNQuantizeParam"},
       {"PACTQuantizer", "LearnedClippedLinearQuantization", "DorefaQuantizeParam"}}));
  INFO(quantizer);
  const ModulePtr model = prepared(config_of(quantizer));
  CHECK(kind_at(*model, "relu") == activation);
  CHECK(kind_at(*model, "relu6") == activation);
  CHECK(kind_at(*model, "sigmoid.input_quant") == "FakeLinearQuantization");
  CHECK(kind_at(*model, "sigmoid.fake_q") == activation);
  CHECK(kind_at(*model, "tanh.fake_q") == "ClippedLinearQuantization");
  CHECK(parameter_at(*model, "conv.weight").transform()->kind() == weight);
  CHECK(parameter_at(*model, "conv.bias").transform() == nullptr);
}

TEST_CASE("overrides change or remove the bits of single layers") {
  const std::string quantizer = GENERATE("DorefaQuantizer", "WRPNQuantizer", "PACTQuantizer");
  INFO(quantizer);
  const ModulePtr model = prepared(config_of(quantizer, {{"overrides",
                                                          {{"conv", {{"bits_weights", nullptr}, {"bits_bias", 8}}},
                                                           {"fc", {{"bits_weights", 2}}},
                                                           {"relu", {{"bits_activations", nullptr}}},
                                                           {"relu6", {{"bits_activations", 3}}}}}}));
  CHECK(parameter_at(*model, "conv.weight").transform() == nullptr);
  CHECK(parameter_at(*model, "conv.bias").transform()->describe() == "bits=8");
  CHECK(parameter_at(*model, "fc.weight").transform()->describe() == "bits=2");
  CHECK(kind_at(*model, "relu") == "ReLU");
  CHECK_THAT(find_module(*model, "relu6")->describe(), Contains("bits=3"));
}

TEST_CASE("an override of a layer that is never quantized is an error, since it would have no effect") {
  CHECK(test::error_of([] {
          prepared(config_of("PACTQuantizer", {{"overrides", {{"flatten", {{"bits_activations", 3}}}}}}));
        }) ==
        "test.json: quantizer.overrides.flatten.bits_activations: no module that this matches (Flatten) takes this "
        "setting; they take: none");
}

TEST_CASE("PACT's clips start where the config says, but within the activation's own bound") {
  const ModulePtr model = prepared(
      config_of("PACTQuantizer", {{"act_clip_init_val", 7}, {"overrides", {{"relu", {{"act_clip_init_val", 3}}}}}}));
  CHECK(parameter_at(*model, "relu.clip_val").raw().item() == 3);
  CHECK(parameter_at(*model, "relu6.clip_val").raw().item() == 6);
  CHECK(parameter_at(*model, "sigmoid.fake_q.clip_val").raw().item() == 1);
}

TEST_CASE("fixed clips stand where the config says, but within the activation's own bound") {
  const std::string quantizer = GENERATE("DorefaQuantizer", "WRPNQuantizer");
  INFO(quantizer);
  const ModulePtr model =
      prepared(config_of(quantizer, {{"act_clip_val", 7}, {"overrides", {{"relu", {{"act_clip_val", 3}}}}}}));
  CHECK_THAT(find_module(*model, "relu")->describe(), Contains("clip_val=3"));
  CHECK_THAT(find_module(*model, "relu6")->describe(), Contains("clip_val=6"));
  CHECK_THAT(find_module(*model, "sigmoid.fake_q")->describe(), Contains("clip_val=1"));
}

TEST_CASE("clips that are not given are measured on the first batch, and saved") {
  const std::string quantizer = GENERATE("DorefaQuantizer", "WRPNQuantizer", "PACTQuantizer");
  INFO(quantizer);
  const ModulePtr model = prepared(config_of(quantizer));
  Module& relu = *find_module(*model, "relu");
  CHECK(relu.describe().find("not measured yet") != std::string::npos);
  CHECK(test::error_of([&] {
          model->set_training(false);
          (*model)(small_input());
        }).find("clipped quantization: no clip yet") != std::string::npos);
  model->set_training(true);
  (*model)(small_input());
  const NamedTensors state = model_state(*model);
  const auto clip_of = [](const NamedTensors& of, const std::string& path) {
    return std::ranges::find(of, path + ".clip_val", &NamedTensors::value_type::first)->second.item();
  };
  const float clip = clip_of(state, "relu");
  CHECK(clip > 0);
  CHECK(clip_of(state, "relu6") <= 6);
  CHECK(clip_of(state, "sigmoid.fake_q") <= 1);
  (*model)(mul_scalar(small_input(), 3));  // is not measured again
  CHECK(clip_of(model_state(*model), "relu") == clip);

  const ModulePtr loaded = prepared(config_of(quantizer));
  load_state(*loaded, state, "the state");
  loaded->set_training(false);
  model->set_training(false);
  CHECK(difference((*loaded)(small_input()), (*model)(small_input())) == "");
}

TEST_CASE("a measured clip quantizes with less error than its neighbours, and grows again from nothing") {
  const Tensor x = test::uniform_tensor({64, 8}, 5, -1.0f, 3.0f);
  const auto error_with = [&](float clip) {
    const Tape::Paused paused;
    return mean(square(sub(ClippedLinearQuantization({.bits = 2, .start = {clip}})(x), relu(x)))).item();
  };
  ClippedLinearQuantization quantize({.bits = 2, .start = {}});
  quantize(x);
  const float clip = quantize.clip_val.item();
  CHECK(error_with(clip) <= error_with(clip * 0.85f));
  CHECK(error_with(clip) <= error_with(clip / 0.85f));
  quantize.forget_range();
  quantize(Tensor::zeros({4, 8}));
  CHECK(quantize.clip_val.item() == 1);
}

TEST_CASE("SAWB's levels are evenly spaced around zero, and near the least square error") {
  const Tensor normal = test::normal_tensor({4000}, 3);
  for (const int bits : {2, 3, 4, 5, 8}) {
    INFO(bits);
    SawbQuantizeParam quantize(bits);
    const Tensor y = quantize(normal);
    const float scale = quantize.grid(y)->integer_scale()[0];
    const float top = std::exp2f(static_cast<float>(bits)) - 1;
    for (const float v : y.data()) {
      const float integer = v * scale;
      CHECK(std::fabs(integer - std::nearbyint(integer)) < 1e-3f);
      CHECK(std::fabs(std::remainder(integer - 1, 2.0f)) < 1e-3f);
      CHECK(std::fabs(integer) <= top + 1e-3f);
    }
    const auto error_at = [&](float end) {
      const float step = 2 * end / top;
      double sum = 0;
      for (const float w : normal.data()) {
        const float level = std::clamp(std::floor(w / step) + 0.5f, -top / 2, top / 2) * step;
        sum += (w - level) * (w - level);
      }
      return sum;
    };
    const float end = min_max(y.data()).max_abs();
    double least = error_at(end);
    for (float share = 0.5f; share < 2; share += 0.02f) least = std::min(least, error_at(share * end));
    CHECK(error_at(end) < (bits < 8 ? 1.1 : 2) * least);
  }
}

TEST_CASE("SAWB's integers are known where no weight is on the outermost level") {
  SawbQuantizeParam quantize(8);
  const Tensor y = quantize(tensor_of({-1, -0.5f, -0.1f, 0.1f, 0.5f, 1}));
  for (const float v : y.data()) {
    const float integer = v * quantize.grid(y)->integer_scale()[0];
    CHECK(std::fabs(std::remainder(integer - 1, 2.0f)) < 1e-3f);
    CHECK(std::fabs(integer) < 254);
  }
}

TEST_CASE("SAWB passes gradients, and refuses bits whose coefficients are not known") {
  Tensor weight = tensor_of({-1, 0.1f, 0.4f, 7});
  Tape tape;
  const Tape::Recording recording(tape);
  weight.set_requires_grad(true);
  tape.backward(sum(SawbQuantizeParam(2)(weight)));
  for (const float g : weight.grad().data()) CHECK(g == 1);
  CHECK(test::error_of([] { SawbQuantizeParam(6); }) == "SAWB weights: expected 2, 3, 4, 5 or 8 bits, got 6");
  const ModulePtr model = prepared(config_of("PACTQuantizer", {{"weights", "SAWB"}, {"bits_bias", 8}}));
  CHECK(parameter_at(*model, "conv.weight").transform()->kind() == "SawbQuantizeParam");
  CHECK(parameter_at(*model, "conv.bias").transform()->kind() == "DorefaQuantizeParam");
}

TEST_CASE("PACT's clips have a parameter group with a decay of their own") {
  const auto decay_of = [](const Json& members) {
    Sgd optimizer({.lr = 0.1f, .weight_decay = 0.5f});
    const ModulePtr model = prepared(config_of("PACTQuantizer", members), &optimizer);
    REQUIRE(optimizer.param_groups().size() == 1);
    CHECK(optimizer.param_groups()[0].name == "clip_val");
    CHECK(optimizer.param_groups()[0].parameters.size() == 3);
    return optimizer.param_groups()[0].weight_decay;
  };
  CHECK(decay_of({{"act_clip_decay", 0.25}}) == 0.25f);
  CHECK_FALSE(decay_of(Json::object()).has_value());
}

TEST_CASE("PACT goes on training when decay takes its clips to zero and beyond") {
  Sgd optimizer({.lr = 1});
  const ModulePtr model = prepared(config_of("PACTQuantizer", {{"act_clip_decay", 1.5}}), &optimizer);
  const int32_t labels[] = {1, 3};
  for (int step = 0; step < 3; ++step) {
    Tape tape;
    const Tape::Recording recording(tape);
    optimizer.zero_grad();
    const Tensor loss = softmax_cross_entropy((*model)(small_input()), labels);
    REQUIRE(std::isfinite(loss.item()));
    tape.backward(loss);
    optimizer.step();
    if (step == 0)
      CHECK(parameter_at(*model, "relu.clip_val").raw().item() == LearnedClippedLinearQuantization::kSmallestClip);
  }
}

TEST_CASE("wrong settings of PACT say where they stand") {
  CHECK(test::error_of([] {
          quantizer_of(config_of("PACTQuantizer", {{"act_clip_init_val", 0}}));
        }).find("test.json: quantizer.act_clip_init_val: expected") == 0);
  CHECK(test::error_of([] {
          quantizer_of(config_of("PACTQuantizer", {{"act_clip_dcay", 0}}));
        }) == "test.json: quantizer.act_clip_dcay: unknown key (did you mean 'act_clip_decay'?)");
}

}  // namespace clipped_quantizers_test
