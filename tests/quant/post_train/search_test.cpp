// The searches for quantization parameters: they lower what they minimise, and their configs give the same model again.
#include "nn/layers/activation.h"

#include <nlohmann/json.hpp>
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "quant/post_train/greedy_search.h"
#include "quant/post_train/lapq.h"
#include "support/catch.h"
#include "support/errors.h"
#include "support/values.h"

namespace search_test {

using namespace qgrad;
using test::error_of;

namespace {

ModulePtr make_net() {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1, /*bias=*/false)))
      .add("bn1", std::make_unique<BatchNorm2d>(4))
      .add("relu1", std::make_unique<ReLU>())
      .add("conv2", std::make_unique<Conv2d>(square_conv(4, 5, 3, 2, 1)))
      .add("relu2", std::make_unique<ReLU>())
      .add("flat", std::make_unique<Flatten>())
      .add("fc", std::make_unique<Linear>(45, 3));
  uint64_t seed = 10;
  for (Parameter* p : all_parameters(*net)) p->set_raw(test::normal_tensor(p->raw().shape(), seed++, 0.3f));
  net->set_training(false);
  return net;
}

Tensor images() { return test::normal_tensor({16, 6, 6, 3}, 1); }

// Square error of the logits against the float net's.
double cost(Module& model) {
  const Tensor y = model(images()), r = (*make_net())(images());
  double total = 0;
  for (size_t i = 0; i < y.data().size(); ++i) total += std::pow(y.data()[i] - r.data()[i], 2);
  return total;
}

QuantStats stats(const ModulePtr& net = make_net()) {
  return collect_quant_stats(*net, [&] { (*net)(images()); });
}

ModulePtr quantized(const Json& config) {
  ModulePtr net = make_net();
  const auto quantizer = Registry<Quantizer>::create({config, "", "quantizer"});
  dynamic_cast<PostTrainLinearQuantizer&>(*quantizer).set_stats(stats());
  quantizer->prepare(net, nullptr, images());
  net->set_training(false);
  return net;
}

ModulePtr folded() {
  ModulePtr net = make_net();
  PostTrainLinearQuantizer(PostTrainLinearConfig{}).prepare_float(net, images());
  net->set_training(false);
  return net;
}

Json base(const Json& more) {
  Json config = {{"class", "PostTrainLinearQuantizer"},
                 {"bits_activations", 4},
                 {"bits_weights", 4},
                 {"save_fp_weights", true},
                 {"also_clip_weights", true}};
  config.update(more);
  return config;
}

const auto kNobody = [](double, int) {};

}  // namespace

TEST_CASE("LAPQ lowers the loss, leaves the best parameters in the model, and its config gives the same model") {
  struct Case {
    const char* mode;
    bool per_channel, clipping;
  };
  const auto c = GENERATE(Case{"SYMMETRIC", false, false}, Case{"SYMMETRIC", true, false},
                          Case{"ASYMMETRIC_UNSIGNED", false, true}, Case{"ASYMMETRIC_SIGNED", true, true});
  const auto init = GENERATE(LapqInit::none, LapqInit::l1, LapqInit::l2, LapqInit::l3);
  INFO(c.mode << ", per channel " << c.per_channel << ", clipping " << c.clipping << ", " << enum_name(init));
  Json config = base({{"mode", c.mode}, {"per_channel_wts", c.per_channel}});
  const ModulePtr net = quantized(config), reference = folded();
  const LapqResult result =
      lapq_search(*net, *reference, images(), cost,
                  {.init = init, .search_clipping = c.clipping, .max_iterations = 2, .max_evaluations = 150}, kNobody);
  CHECK(result.loss < result.first_loss);
  CHECK(result.evaluations <= 150 + 10);
  CHECK(cost(*net) == result.loss);
  CHECK(result.quant_params.size() == 7);  // four outputs (relu2 is computed in conv2) and three weights
  config["quant_params"] = Json::parse(result.quant_params.dump());
  CHECK(cost(*quantized(config)) == result.loss);
}

TEST_CASE("LAPQ says what it needs") {
  const ModulePtr reference = folded();
  const auto search = [&](const Json& config) {
    const ModulePtr net = quantized(config);
    return error_of([&] { lapq_search(*net, *reference, images(), cost, {.init = LapqInit::none}, kNobody); });
  };
  CHECK_THAT(search(base({{"mode", "ASYMMETRIC_UNSIGNED"}})), Contains("search_clipping"));
}

TEST_CASE("quant_params that do not fit are errors that name them") {
  const auto error = [](const Json& params) { return error_of([&] { quantized(base({{"quant_params", params}})); }); };
  CHECK_THAT(error({{"conv3.output_scale", 2}}),
             Contains("quant_params.conv3.output_scale") && Contains("did you mean"));
  CHECK_THAT(error({{"fc.output_scale", -2}}), Contains("quant_params.fc.output_scale") && Contains("positive"));
  CHECK_THAT(error({{"fc.output_scale", "two"}}), Contains("quant_params.fc.output_scale"));
  CHECK_THAT(error(3), Contains("expected an object"));
}

TEST_CASE("the greedy search chooses for every layer the clip mode that costs least, given those before it") {
  const Json config = base({{"mode", "ASYMMETRIC_UNSIGNED"}, {"overrides", {{"fc", {{"bits_activations", 6}}}}}});
  const GreedyConfig modes{{ClipMode::none, ClipMode::avg, ClipMode::laplace}};
  std::vector<std::string> order;
  const GreedyResult result = greedy_search(
      config, [] { return folded(); }, stats(folded()), images(), cost, modes,
      [&](const std::string& path, size_t, size_t) { order.push_back(path); });
  CHECK(order == std::vector<std::string>{"conv1", "conv2", "flat", "fc"});
  CHECK(result.evaluations == 12);
  CHECK(result.quantizer.at("bits_activations").is_null());
  CHECK(result.quantizer.at("overrides").at("fc").at("bits_activations") == 6);
  CHECK(cost(*quantized(result.quantizer)) == Approx(result.cost).epsilon(1e-4));

  // The first layer's choice, found by hand: it alone is quantized.
  std::optional<double> least;
  std::string chosen;
  for (const char* mode : {"NONE", "AVG", "LAPLACE"}) {
    const Json alone =
        base({{"mode", "ASYMMETRIC_UNSIGNED"},
              {"bits_activations", nullptr},
              {"bits_weights", nullptr},
              {"overrides", {{"conv1", {{"bits_activations", 4}, {"bits_weights", 4}, {"clip_acts", mode}}}}}});
    const double value = cost(*quantized(alone));
    if (least && value >= *least) continue;
    least = value;
    chosen = mode;
  }
  CHECK(result.quantizer.at("overrides").at("conv1").at("clip_acts") == chosen);
}

TEST_CASE("the greedy search takes a cost that is no number for the worst") {
  int calls = 0;
  const auto broken_at_first = [&](Module& m) { return ++calls % 2 ? std::nan("") : cost(m); };
  const GreedyResult result = greedy_search(
      base({{"mode", "ASYMMETRIC_UNSIGNED"}}), [] { return folded(); }, stats(folded()), images(), broken_at_first,
      {{ClipMode::none, ClipMode::avg}}, [](const std::string&, size_t, size_t) {});
  CHECK(std::isfinite(result.cost));
  CHECK(result.quantizer.at("overrides").at("conv1").at("clip_acts") == "AVG");
}

}  // namespace search_test
