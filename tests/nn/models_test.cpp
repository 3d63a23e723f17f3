// The model zoo: sizes, names and initial values.
#include "nn/models/architecture.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/graph.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "support/catch.h"
#include "support/golden.h"

using namespace qgrad;

namespace {

std::unique_ptr<Architecture> architecture(const std::string& name) {
  return Registry<Architecture>::create({{{"class", name}}, "", "model"});
}

struct Size {
  const char* name;
  int64_t parameters, weights, macs;  // weights: of convolutions and linear layers
  int convs, relus, batch_norms;
};

// Measured on Distiller's own classes.
constexpr Size kZoo[] = {
    {"simplenet", 62'006, 61'770, 651'720, 2, 4, 0},
    {"resnet20", 272'474, 270'896, 40'813'184, 21, 19, 21},
    {"resnet32", 466'906, 464'432, 69'124'736, 33, 31, 33},
    {"resnet44", 661'338, 657'968, 97'436'288, 45, 43, 45},
    {"resnet56", 855'770, 851'504, 125'747'840, 57, 55, 57},
    {"preact_resnet20", 269'722, 268'336, 40'551'040, 19, 19, 19},
    {"preact_resnet32", 464'154, 461'872, 68'862'592, 31, 31, 31},
    {"preact_resnet44", 658'586, 655'408, 97'174'144, 43, 43, 43},
    {"preact_resnet56", 853'018, 848'944, 125'485'696, 55, 55, 55},
    {"preact_resnet110", 1'727'962, 1'719'856, 252'887'680, 109, 109, 109},
    {"preact_resnet20_conv_ds", 272'282, 270'896, 40'813'184, 21, 19, 19},
    {"preact_resnet32_conv_ds", 466'714, 464'432, 69'124'736, 33, 31, 31},
    {"preact_resnet44_conv_ds", 661'146, 657'968, 97'436'288, 45, 43, 43},
    {"preact_resnet56_conv_ds", 855'578, 851'504, 125'747'840, 57, 55, 55},
    {"preact_resnet110_conv_ds", 1'730'522, 1'722'416, 253'149'824, 111, 109, 109},
    {"vgg11", 9'225'610, 9'222'848, 152'769'536, 8, 8, 0},
    {"vgg13", 9'410'122, 9'407'168, 228'267'008, 10, 10, 0},
    {"vgg16", 14'719'818, 14'715'584, 313'201'664, 13, 13, 0},
    {"vgg19", 20'029'514, 20'024'000, 398'136'320, 16, 16, 0},
    {"vgg11_bn", 9'231'114, 9'222'848, 152'769'536, 8, 8, 8},
    {"vgg13_bn", 9'416'010, 9'407'168, 228'267'008, 10, 10, 10},
    {"vgg16_bn", 14'728'266, 14'715'584, 313'201'664, 13, 13, 13},
    {"vgg19_bn", 20'040'522, 20'024'000, 398'136'320, 16, 16, 16},
    {"plain20", 269'722, 268'336, 40'551'040, 19, 19, 19},
    {"plain20_nobn", 268'346, 268'336, 40'551'040, 19, 19, 0},
};

// Measured on torchvision's, for images of 224x224.
constexpr Size kTorchvision[] = {
    {"resnet18", 11'689'512, 11'678'912, 1'814'073'344, 20, 17, 20},
    {"resnet34", 21'797'672, 21'779'648, 3'663'761'408, 36, 33, 36},
    {"resnet50", 25'557'032, 25'502'912, 4'089'184'256, 53, 49, 53},
    {"mobilenet_v2", 3'504'872, 3'469'760, 300'774'272, 52, 35, 52},
};

int count_kind(Module& model, std::string_view kind) {
  int count = 0;
  visit_modules(model, [&](Module& m) { count += m.kind() == kind; });
  return count;
}

int64_t count_parameters(Module& model) {
  int64_t count = 0;
  for (const Parameter* p : all_parameters(model)) count += p->raw().numel();
  return count;
}

// Of one example (shape [1, ..]) in convolutions and linear layers; Distiller counts the same.
double count_multiplications(Module& model, const Shape& example) {
  double count = 0;
  const Graph graph = Graph::trace(model, Tensor::zeros(example));
  for (const GraphNode& node : graph.nodes()) count += graph.multiplications(node);
  return count;
}

int64_t count_weights(Module& model) {
  int64_t count = 0;
  for (const Parameter* p : all_parameters(model))
    if (p->raw().rank() >= 2) count += p->raw().numel();
  return count;
}

}  // namespace

TEST_CASE("the zoo has Distiller's parameter, weight, layer and multiplication counts, and torchvision's") {
  const auto check_size = [](const Size& size, const Shape& example) {
    INFO(size.name);
    const ModulePtr model = architecture(size.name)->make();
    CHECK(count_parameters(*model) == size.parameters);
    CHECK(count_weights(*model) == size.weights);
    CHECK(count_kind(*model, "Conv2d") == size.convs);
    CHECK(count_kind(*model, "ReLU") + count_kind(*model, "ReLU6") == size.relus);
    CHECK(count_kind(*model, "BatchNorm2d") == size.batch_norms);
    CHECK(count_multiplications(*model, example) == static_cast<double>(size.macs));
  };
  for (const Size& size : kZoo) check_size(size, {1, 32, 32, 3});
  for (const Size& size : kTorchvision) check_size(size, {1, 224, 224, 3});
}

TEST_CASE("names of parameters are torchvision's") {
  const auto has = [](const char* model, const std::vector<std::string>& names) {
    const ModulePtr net = architecture(model)->make();
    std::set<std::string> paths;
    for (const Parameter* p : all_parameters(*net)) paths.insert(p->path());
    return std::ranges::all_of(names, [&](const std::string& name) { return paths.contains(name); });
  };
  CHECK(has("resnet18", {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.bias", "fc.bias"}));
  CHECK(has("resnet50", {"layer1.0.downsample.1.weight", "layer3.5.conv3.weight", "layer4.2.bn3.weight"}));
  CHECK(has("mobilenet_v2", {"features.0.0.weight", "features.1.conv.1.weight", "features.2.conv.1.0.weight",
                             "features.17.conv.3.bias", "features.18.1.weight", "classifier.1.weight"}));
}

TEST_CASE("every architecture of the zoo takes its own example and gives its number of classes") {
  for (const std::string& name : Registry<Architecture>::instance().names()) {
    const bool is_of_imagenet = std::ranges::count(kTorchvision, name, &Size::name) > 0;
    if (name.starts_with("vgg") || is_of_imagenet || name == "network") continue;  // slow with sanitizers; of no form
    INFO(name);
    const auto entry = architecture(name);
    const ModulePtr model = entry->make();
    model->set_training(false);
    CHECK(model->call(entry->example()).shape() == Shape{1, name == "neumf" ? 1 : 10});
  }
}

TEST_CASE("networks that end in an average over the image take other sizes, and simplenet says why it does not") {
  const Tensor images = Tensor::zeros({1, 48, 64, 3});
  for (const char* name : {"resnet20", "plain20_nobn", "preact_resnet20", "preact_resnet20_conv_ds", "vgg11"}) {
    INFO(name);
    const ModulePtr model = architecture(name)->make();
    model->set_training(false);
    CHECK((*model)(images).shape() == Shape{1, 10});
  }
  CHECK_THROWS_WITH((*architecture("simplenet")->make())(images), Contains("fc1"));
}

TEST_CASE("an average over one pixel is left out, so that VGG at 32x32 is Distiller's") {
  const ModulePtr model = architecture("vgg11")->make();
  const Graph small = Graph::trace(*model, Tensor::zeros({1, 32, 32, 3}));
  CHECK(small.find("avgpool") == nullptr);
  const Graph large = Graph::trace(*model, Tensor::zeros({1, 64, 32, 3}));
  CHECK(large.find("avgpool") != nullptr);
}

TEST_CASE("widening multiplies the channels of every inner layer, of no input and no output") {
  for (const char* name :
       {"simplenet", "resnet20", "preact_resnet20", "preact_resnet20_conv_ds", "plain20_nobn", "vgg11_bn"}) {
    INFO(name);
    const ModulePtr plain = architecture(name)->make();
    const auto entry = Registry<Architecture>::create({{{"class", name}, {"widening", 3}}, "", "model"});
    const ModulePtr wide = entry->make();
    const std::vector<Parameter*> narrow = all_parameters(*plain), widened = all_parameters(*wide);
    REQUIRE(narrow.size() == widened.size());
    for (size_t i = 0; i < narrow.size(); ++i) {
      const Shape &n = narrow[i]->raw().shape(), &w = widened[i]->raw().shape();
      CHECK(w[-1] == n[-1] * (n[-1] == 10 ? 1 : 3));
      if (n.rank() >= 2) CHECK(w[-2] == n[-2] * (i == 0 ? 1 : 3));
    }
    if (std::string_view(name) != "vgg11_bn") CHECK((*wide)(Tensor::zeros({1, 32, 32, 3})).shape() == Shape{1, 10});
  }
}

TEST_CASE("the number of classes sizes the last layer") {
  const auto entry = Registry<Architecture>::create({{{"class", "resnet20"}, {"classes", 7}}, "", "model"});
  const ModulePtr model = entry->make();
  CHECK(find_module(*model, "fc")->parameters()[0]->raw().shape() == Shape{64, 7});
}

TEST_CASE("resnet20 has the module names of the ancestor's statistics file") {
  const std::optional<Json> stats = golden::load("10_resnet20_cifar10_stats");
  if (!stats) return;
  const ModulePtr model = architecture("resnet20")->make();
  std::vector<std::string> leaves, expected;
  visit_modules(*model, [&](Module& m) {
    if (m.children().empty()) leaves.push_back(m.path());
  });
  for (const auto& [name, value] : stats->at("stats").items()) expected.push_back(name);
  CHECK(leaves == expected);
}

TEST_CASE("the digits' network has a few thousand parameters") {
  const ModulePtr model = architecture("convnet")->make();
  CHECK(count_parameters(*model) > 2'000);
  CHECK(count_parameters(*model) < 10'000);
}

TEST_CASE("initial values depend on the seed and the parameter's path alone") {
  const ModulePtr a = architecture("resnet20")->build(1), b = architecture("resnet20")->build(1),
                  c = architecture("resnet20")->build(2), deeper = architecture("resnet32")->build(1);
  const auto weight = [](Module& model, const char* path) {
    return dynamic_cast<Conv2d&>(*find_module(model, path)).weight.raw();
  };
  const char* path = "layer2.0.conv1";
  CHECK(golden::difference(weight(*a, path), weight(*b, path), golden::kExact) == "");
  CHECK(golden::difference(weight(*a, path), weight(*deeper, path), golden::kExact) == "");
  CHECK(golden::difference(weight(*a, path), weight(*c, path), golden::kExact) != "");
  CHECK(golden::difference(weight(*a, "layer1.0.conv1"), weight(*a, "layer1.0.conv2"), golden::kExact) != "");
}

TEST_CASE("convolutions of residual nets start as N(0, 2 / (k k out)), linear layers uniform in 1 / sqrt(in)") {
  const ModulePtr model = architecture("resnet20")->build(3);
  const Tensor conv = dynamic_cast<Conv2d&>(*find_module(*model, "layer3.1.conv1")).weight.raw();
  double sum = 0, squares = 0;
  for (const float x : conv.data()) sum += x, squares += static_cast<double>(x) * x;
  const auto n = static_cast<double>(conv.numel());
  const double deviation = std::sqrt(2.0 / (9 * 64));
  CHECK(std::abs(sum / n) < 4 * deviation / std::sqrt(n));
  CHECK(std::sqrt(squares / n) == Approx(deviation).epsilon(0.02));

  const Tensor linear = dynamic_cast<Linear&>(*find_module(*model, "fc")).weight.raw();
  const auto [low, high] = std::ranges::minmax(linear.data());
  CHECK(low >= -0.125f);
  CHECK(high <= 0.125f);
  CHECK(high - low > 0.24f);
}
