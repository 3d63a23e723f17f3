// Quantization-aware training with tracked ranges: golden parameters and training runs, and what gets quantized.
#include "quant/train/range_linear.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"
#include "quant/small_net.h"
#include "quant/train/quant_aware_train_golden.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/golden.h"
#include "support/modes.h"
#include "support/values.h"
#include "support/weighted_sum.h"

namespace quant_aware_train_linear_test {

using namespace qgrad;
using namespace qgrad::golden;

namespace {

Json qat_config(const Json& members = Json::object()) {
  Json config = {{"class", "QuantAwareTrainRangeLinearQuantizer"}, {"bits_activations", 8}, {"bits_weights", 8}};
  config.update(members);
  return config;
}

ModulePtr small_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)));
  net->add("relu1", std::make_unique<ReLU>());
  net->add("conv2", std::make_unique<Conv2d>(square_conv(4, 4, 3, 1, 1)));
  net->add("act2", std::make_unique<ReLU6>());
  net->add("flatten", std::make_unique<Flatten>());
  net->add("fc", std::make_unique<Linear>(64, 5));
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), 7, 0.3f));
  return net;
}
using test::small_input;

}  // namespace

TEST_CASE("golden 04c: parameters quantized to the range they span") {
  for_each_case("04c_linear_quantize_param", [](const Json&, const Json& c) {
    const Json &in = c.at("inputs"), &expected = c.at("expected");
    if (in.at("variant") == "upstream") return skipped("upstream's bug");
    const std::string owner = in.at("param_of");
    const Tensor theirs = tensor(in.at("x"));
    const Layout layout = owner == "Conv2d" ? Layout::conv : owner == "Linear" ? Layout::linear : Layout::plain;
    Tensor x = from_file_layout(theirs, layout);
    LinearQuantizeParam quantize({.bits = in.at("num_bits"),
                                  .mode = test::mode_named(in.at("mode")),
                                  .per_channel = in.at("per_channel_wts").get<bool>() && layout != Layout::plain,
                                  .clamp_integers = false},
                                 x.shape());
    Tape tape;
    const Tape::Recording recording(tape);
    x.set_requires_grad(true);
    const Tensor y = quantize(x);
    CHECK(difference(to_file_layout(y, layout), tensor(expected.at("output"))) == "");
    CHECK(buffers_difference(quantize, expected, {}) == "");
    tape.backward(test::weighted_sum(y, from_file_layout(tensor(in.at("g")), layout)));
    CHECK(difference(to_file_layout(x.grad(), layout), tensor(expected.at("input_grad")), kExact) == "");
    return kCompared;
  });
}

TEST_CASE("golden 07a: training with quantized weights and activations") {
  for_each_case("07a_qat_range_linear", check_quant_aware_train_case);
}

TEST_CASE("activation functions, weights and the input are quantized, biases and other layers not") {
  ModulePtr model = small_net();
  quantizer_of(qat_config())->prepare(model, nullptr, small_input());
  CHECK(model->kind() == "ModelInputsWrapper");
  CHECK(fake_quant_at(*model, "inputs_quant").config().bits == 8);
  CHECK(find_module(*model, "relu1")->kind() == "FakeQuantizationWrapper");
  CHECK(find_module(*model, "act2")->kind() == "FakeQuantizationWrapper");
  CHECK(find_module(*model, "flatten")->kind() == "Flatten");
  CHECK(parameter_at(*model, "conv1.weight").transform()->kind() == "LinearQuantizeParam");
  CHECK(parameter_at(*model, "fc.weight").transform()->path() == "fc.weight_quant");
  CHECK(parameter_at(*model, "conv1.bias").transform() == nullptr);
}

TEST_CASE("the modes of activations and weights are honoured") {
  const auto grid = [](const Json& mode) {
    ModulePtr model = small_net();
    quantizer_of(qat_config({{"mode", mode}}))->prepare(model, nullptr, small_input());
    (*model)(small_input());
    const auto* weight = dynamic_cast<LinearQuantizeParam*>(parameter_at(*model, "conv1.weight").transform());
    return std::pair(fake_quant_at(*model, "inputs_quant").zero_point.item(), weight->zero_point.item());
  };
  CHECK(grid("SYMMETRIC") == std::pair(0.0f, 0.0f));
  const auto [input, weight] = grid({{"activations", "ASYMMETRIC_UNSIGNED"}, {"weights", "SYMMETRIC_RESTRICTED"}});
  CHECK(input < 0);
  CHECK(weight == 0);
}

TEST_CASE("per-channel weights have a scale for each output channel, per layer as overrides say") {
  ModulePtr model = small_net();
  quantizer_of(qat_config({{"per_channel_wts", true}, {"overrides", {{"conv2", {{"per_channel_wts", false}}}}}}))
      ->prepare(model, nullptr, small_input());
  const auto scales = [&](const char* path) {
    return dynamic_cast<LinearQuantizeParam*>(parameter_at(*model, path).transform())->scale().numel();
  };
  CHECK(scales("conv1.weight") == 4);
  CHECK(scales("conv2.weight") == 1);
  CHECK(scales("fc.weight") == 5);
}

TEST_CASE("embeddings are never quantized per channel, and their indices are not quantized") {
  auto net = std::make_unique<Sequential>();
  net->add("embedding", std::make_unique<Embedding>(10, 4));
  net->add("relu", std::make_unique<ReLU>());
  ModulePtr model = std::move(net);
  const Tensor ids = Tensor::from({3}, std::vector<float>{0, 7, 9});
  quantizer_of(qat_config({{"per_channel_wts", true}}))->prepare(model, nullptr, ids);
  CHECK(model->kind() == "Sequential");
  const Parameter& table = parameter_at(*model, "embedding.weight");
  CHECK(dynamic_cast<LinearQuantizeParam*>(table.transform())->scale().numel() == 1);
  CHECK((*model)(ids).shape() == Shape{3, 4});
}

TEST_CASE("overrides reach activations, their decay and their bits") {
  ModulePtr model = small_net();
  quantizer_of(qat_config({{"overrides",
                            {{"relu1", {{"bits_activations", 3}, {"ema_decay", 0.5}, {"mode", "ASYMMETRIC_UNSIGNED"}}},
                             {"act2", {{"bits_activations", nullptr}}}}}}))
      ->prepare(model, nullptr, small_input());
  const FakeQuantConfig& config = fake_quant_at(*model, "relu1").config();
  CHECK(config.bits == 3);
  CHECK(config.ema_decay == 0.5f);
  CHECK(config.mode == LinearQuantMode::asymmetric_unsigned);
  CHECK(find_module(*model, "act2")->kind() == "ReLU6");
}

TEST_CASE("inputs have bits of their own, and may be left alone") {
  ModulePtr model = small_net();
  quantizer_of(qat_config({{"num_bits_inputs", 4}}))->prepare(model, nullptr, small_input());
  CHECK(fake_quant_at(*model, "inputs_quant").config().bits == 4);
  ModulePtr other = small_net();
  quantizer_of(qat_config({{"quantize_inputs", false}}))->prepare(other, nullptr, small_input());
  CHECK(other->kind() == "Sequential");
}

TEST_CASE("statistics are ranges to start from, slow to forget, and no part of the checkpoint's config") {
  ModulePtr model = small_net();
  const QuantStats stats = collect_quant_stats(*model, [&] { (*model)(small_input()); });
  const auto quantizer = quantizer_of(qat_config({{"model_activation_stats", stats_to_json(stats)}}));
  quantizer->prepare(model, nullptr, small_input());
  CHECK(fake_quant_at(*model, "relu1").tracked_max.item() == static_cast<float>(stats.at("relu1").output.max));
  CHECK(fake_quant_at(*model, "inputs_quant").tracked_min.item() ==
        static_cast<float>(stats.at("conv1").inputs.at(0).min));
  model->set_training(false);
  (*model)(small_input());  // can be evaluated
  model->set_training(true);
  const float before = fake_quant_at(*model, "inputs_quant").tracked_max.item();
  (*model)(Tensor::full({2, 4, 4, 3}, before + 1));
  CHECK(fake_quant_at(*model, "inputs_quant").tracked_max.item() == Approx(before + 0.001).epsilon(1e-5));
  CHECK(quantizer->self_contained(qat_config({{"model_activation_stats", "x.json"}}))
            .at("model_activation_stats")
            .is_null());
}

TEST_CASE("where the inputs of layers are quantized, their statistics are the ranges to start from") {
  ModulePtr model = small_net();
  const QuantStats stats = collect_quant_stats(*model, [&] { (*model)(small_input()); });
  quantizer_of(qat_config({{"model_activation_stats", stats_to_json(stats)}, {"quantized_activations", "inputs"}}))
      ->prepare(model, nullptr, small_input());
  CHECK(fake_quant_at(*model, "inputs_quant").tracked_min.item() ==
        static_cast<float>(stats.at("conv1").inputs.at(0).min));
  for (const char* layer : {"conv2", "fc"})
    CHECK(fake_quant_at(*model, std::string(layer) + ".input_quant").tracked_max.item() ==
          static_cast<float>(stats.at(layer).inputs.at(0).max));
}

TEST_CASE("ranges that are cut are measured once, by calibration or on the first batch, and stay") {
  const Json clipped = {{"clip_acts", "MSE"}, {"mode", "ASYMMETRIC_UNSIGNED"}, {"bits_activations", 3}};
  ModulePtr model = small_net();
  const QuantStats stats = collect_quant_stats(*model, [&] { (*model)(small_input()); });
  const auto quantizer = quantizer_of(qat_config(clipped));
  quantizer->set_stats(stats);
  quantizer->prepare(model, nullptr, small_input());
  FakeLinearQuantization& calibrated = fake_quant_at(*model, "relu1.fake_q");
  const ValueRange expected = range_from_stats(
      stats.at("relu1").output, {.bits = 3, .mode = LinearQuantMode::asymmetric_unsigned, .clip = ClipMode::mse});
  CHECK(calibrated.tracked_max.item() == expected.max);
  CHECK(calibrated.tracked_max.item() < static_cast<float>(stats.at("relu1").output.max));

  ModulePtr fresh = small_net();
  quantizer_of(qat_config(clipped))->prepare(fresh, nullptr, small_input());
  (*fresh)(small_input());
  const float first = fake_quant_at(*fresh, "relu1.fake_q").tracked_max.item();
  CHECK(first > 0);
  for (Module* trained : {model.get(), fresh.get()}) (*trained)(mul_scalar(small_input(), 10));
  CHECK(calibrated.tracked_max.item() == expected.max);
  CHECK(fake_quant_at(*fresh, "relu1.fake_q").tracked_max.item() == first);
}

TEST_CASE("clipped ranges of weights have less error than whole ones, and follow the weights") {
  const bool per_channel = GENERATE(true, false);
  const auto mode = GENERATE(LinearQuantMode::symmetric, LinearQuantMode::asymmetric_unsigned);
  Tensor weight = test::normal_tensor({3, 3, 8, 4}, 11);
  const LinearQuantizeParamConfig whole{.bits = 2, .mode = mode, .per_channel = per_channel};
  LinearQuantizeParamConfig config = whole;
  config.clip = true;
  const auto error_of = [&](LinearQuantizeParam& quantize) {
    return mean(square(sub(quantize(weight), weight))).item();
  };
  LinearQuantizeParam clipped(config, weight.shape()), unclipped(whole, weight.shape());
  const float first = error_of(clipped);
  CHECK(first < 0.8f * error_of(unclipped));
  weight.mutable_data()[0] = 20;  // an outlier, which the range of the moment reaches, and its share has to go down for
  float now = error_of(clipped);
  for (int step = 0; step < 20; ++step) {
    const float before = now;
    now = error_of(clipped);
    CHECK(now <= before * 1.000001f);
  }
  clipped.set_training(false);
  CHECK(error_of(clipped) == now);

  LinearQuantizeParam loaded(config, weight.shape());
  load_state(loaded, model_state(clipped), "the state");
  loaded.set_training(false);
  CHECK(test::bits(loaded(weight)) == test::bits(clipped(weight)));
}

TEST_CASE("statistics of another model are refused") {
  ModulePtr model = small_net(), other = small_net();
  Json stats = stats_to_json(collect_quant_stats(*other, [&] { (*other)(small_input()); }));
  stats["relu7"] = stats["relu1"];
  CHECK(test::error_of([&] {
          quantizer_of(qat_config({{"model_activation_stats", stats}}))->prepare(model, nullptr, small_input());
        }).find("statistics for 'relu7', which the model does not have") != std::string::npos);
}

TEST_CASE("preparing a model that evaluates keeps it evaluating") {
  ModulePtr model = small_net();
  model->set_training(false);
  quantizer_of(qat_config())->prepare(model, nullptr, small_input());
  visit_modules(*model, [](Module& m) { CHECK_FALSE(m.training()); });
}

TEST_CASE("two quantized models of one class do not see each other") {
  ModulePtr first = small_net(), second = small_net(), plain = small_net();
  const Tensor before = (*plain)(small_input());
  quantizer_of(qat_config())->prepare(first, nullptr, small_input());
  quantizer_of(qat_config())->prepare(second, nullptr, small_input());
  CHECK(test::values((*first)(small_input())) == test::values((*second)(small_input())));
  CHECK(test::values((*plain)(small_input())) == test::values(before));
}

TEST_CASE("a model prepared again loads the state of a trained one and gives the same outputs") {
  const Json config = qat_config({{"per_channel_wts", true}, {"mode", "ASYMMETRIC_SIGNED"}});
  ModulePtr trained = small_net();
  quantizer_of(config)->prepare(trained, nullptr, small_input());
  for (int i = 0; i < 3; ++i) (*trained)(small_input());
  trained->set_training(false);

  // The resolved config is what a checkpoint keeps.
  ModulePtr loaded = small_net();
  for (Parameter* p : all_parameters(*loaded)) p->set_raw(Tensor::zeros(p->raw().shape()));
  quantizer_of(Registry<Quantizer>::resolve(Config{config, "", ""}))
      ->prepare(loaded, nullptr, Tensor::zeros({1, 4, 4, 3}));
  loaded->set_training(false);
  CHECK(test::error_of([&] { (*loaded)(small_input()); }).find("no range yet") != std::string::npos);

  const auto parameters = all_parameters(*trained), new_parameters = all_parameters(*loaded);
  const auto buffers = all_buffers(*trained), new_buffers = all_buffers(*loaded);
  REQUIRE(parameters.size() == new_parameters.size());
  REQUIRE(buffers.size() == new_buffers.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    CHECK(parameters[i]->path() == new_parameters[i]->path());
    new_parameters[i]->set_raw(parameters[i]->raw().clone());
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    CHECK(buffers[i]->path() == new_buffers[i]->path());
    new_buffers[i]->set((*buffers[i])().clone());
  }
  CHECK(test::values((*loaded)(small_input())) == test::values((*trained)(small_input())));
}

TEST_CASE("weights learn through the quantization") {
  ModulePtr model = small_net();
  quantizer_of(qat_config({{"bits_weights", 4}, {"bits_bias", 8}}))->prepare(model, nullptr, small_input());
  Tape tape;
  const Tape::Recording recording(tape);
  const int32_t labels[] = {1, 3};
  tape.backward(softmax_cross_entropy((*model)(small_input()), labels));
  for (const Parameter* p : all_parameters(*model)) {
    INFO(p->path());
    REQUIRE(p->raw().grad().defined());
    CHECK(std::ranges::any_of(p->raw().grad().data(), [](float g) { return g != 0; }));
  }
}

TEST_CASE("wrong values of the config say where they stand") {
  CHECK(test::error_of([] {
          quantizer_of(qat_config({{"mode", "SYMETRIC"}}));
        }) ==
        "test.json: quantizer.mode: expected one of SYMMETRIC, SYMMETRIC_RESTRICTED, ASYMMETRIC_UNSIGNED, "
        "ASYMMETRIC_SIGNED, SYMMETRIC_MIDRISE; got \"SYMETRIC\" (did you mean 'SYMMETRIC'?)");
  CHECK(test::error_of([] {
          quantizer_of(qat_config({{"mode", {{"activation", "SYMMETRIC"}}}}));
        }) == "test.json: quantizer.mode.activation: unknown key (did you mean 'activations'?)");
  CHECK(test::error_of([] {
          quantizer_of(qat_config({{"bits_weights", 33}}));
        }) == "test.json: quantizer.bits_weights: expected 1 to 32, got 33");
}

}  // namespace quant_aware_train_linear_test
