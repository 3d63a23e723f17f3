// Drawing layers until they fit.
#include "support/random_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "nn/models/architecture.h"
#include "support/values.h"

namespace qgrad::test {
namespace {

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(seed, "random layers") {}

  int64_t from(int64_t low, int64_t high) { return low + random_.below(static_cast<uint32_t>(high - low + 1)); }
  Json pair(int64_t low, int64_t high) { return {from(low, high), from(low, high)}; }
  const Json& one_of(const Json& values) { return values[random_.below(static_cast<uint32_t>(values.size()))]; }

  Json layer() {
    switch (from(0, 13)) {
      case 0:
      case 1:
      case 2:
        return convolution();
      case 3:
        return {{"class", "BatchNorm2d"}};
      case 4:
        return pool();
      case 5:
      case 6:
        return joining();
      case 7:
        return moving();
      case 8:
        return {{"class", "LayerNorm"}, {"shape", {one_of({4, 8})}}};
      case 9:
        return {{"class", one_of({"Softmax", "BatchMatmul"})}};
      default:
        return {{"class", one_of({"ReLU", "ReLU", "ReLU", "ReLU6", "Sigmoid", "Tanh", "HardSwish", "SiLU", "LeakyReLU",
                                  "HardSigmoid", "ELU", "GELU"})}};
    }
  }

 private:
  // No window lies in the padding alone.
  Json window(int64_t largest) {
    const int64_t height = from(1, largest), width = from(1, largest);
    return {{"kernel", {height, width}},
            {"stride", pair(1, 2)},
            {"padding", {from(0, std::min<int64_t>(2, height - 1)), from(0, std::min<int64_t>(2, width - 1))}}};
  }
  Json convolution() {
    const int64_t groups = one_of({1, 1, 1, 2, 4, 8}).get<int64_t>();
    Json layer = {{"class", "Conv2d"},
                  {"out", groups * from(1, groups > 1 ? 2 : 12)},
                  {"groups", groups},
                  {"dilation", pair(1, 2)},
                  {"bias", from(0, 1) == 1}};
    layer.update(window(4));
    return layer;
  }
  Json pool() {
    Json layer = {{"class", one_of({"MaxPool2d", "AvgPool2d"})}, {"ceil", from(0, 1) == 1}};
    layer.update(window(3));
    if (layer["class"] == "AvgPool2d") layer["count_padding"] = from(0, 1) == 1;
    return layer;
  }
  Json joining() {
    if (from(0, 3) > 0) return {{"class", one_of({"EltwiseAdd", "EltwiseAdd", "EltwiseMult"})}};
    return {{"class", "Concat"}, {"dim", one_of({1, 2, 3, -1})}};
  }
  // A part of the numbers, or some more, or others' places.
  Json moving() {
    switch (from(0, 7)) {
      case 6:
      case 7:
        return {{"class", "Transpose"}, {"order", one_of({{0, 2, 1, 3}, {0, 1, 3, 2}, {0, 3, 1, 2}})}};
      case 0:
        return {{"class", "Split"}, {"dim", 3}, {"parts", 2}, {"index", from(0, 1)}};
      case 1:
        return {{"class", "PadChannels"}, {"before", from(0, 3)}, {"after", from(0, 3)}};
      case 2:
        return {{"class", "Slice"}, {"dim", from(1, 3)}, {"begin", from(0, 2)}, {"step", from(1, 2)}};
      case 3:
        return {{"class", "Pad"},
                {"before", {0, from(0, 1), from(0, 2), 0}},
                {"after", {0, from(0, 1), from(0, 2), 0}},
                {"mode", one_of({"constant", "edge"})}};
      case 4:
        return {{"class", "Gather"}, {"dim", from(1, 3)}, {"indices", {from(0, 3), from(0, 3), from(0, 3), 0}}};
      default:
        return {{"class", "Resize"},
                {"scale", {one_of({0.5, 1.5, 2}), 2}},
                {"mode", one_of({"nearest", "linear"})},
                {"coordinates", one_of({"half_pixel", "asymmetric", "align_corners"})}};
    }
  }

  RandomStream random_;
};

bool joins(const Json& layer) {
  const Json& name = layer.at("class");
  return name == "EltwiseAdd" || name == "EltwiseMult" || name == "Concat" || name == "BatchMatmul";
}

// Whether a network can be made of it, and is small.
bool fits(const Json& network) {
  try {
    const auto architecture = Registry<Architecture>::create({network, "", "model"});
    const ModulePtr model = architecture->make();
    model->set_training(false);
    const std::vector<Tensor> image = architecture->example();
    const int64_t numbers = model->call(image).numel();
    return numbers > 0 && numbers <= 2000;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Config random_network(uint64_t seed) {
  Draw draw(seed);
  Json network = {{"class", "network"},
                  {"inputs", {{{"name", "image"}, {"shape", {8, 8, 3}}}}},
                  {"nodes", {{{"name", "layer0"}, {"class", "Conv2d"}, {"out", 8}, {"padding", 1}}}}};
  Json& nodes = network["nodes"];
  for (int64_t left = draw.from(4, 30); left > 0; --left) {
    Json node = draw.layer();
    const auto count = std::ssize(nodes);
    node["name"] = fmt::format("layer{}", count);
    if (joins(node)) {
      const std::string last = fmt::format("layer{}", count - 1);
      node["inputs"] = {last, fmt::format("layer{}", draw.from(0, count - 1))};
    }
    nodes.push_back(std::move(node));
    if (!fits(network)) nodes.erase(static_cast<size_t>(count));
  }
  nodes.push_back({{"name", "flat"}, {"class", "Flatten"}});
  nodes.push_back({{"name", "fc"}, {"class", "Linear"}, {"out", 5}});
  return {network, "", "model"};
}

ModulePtr random_layers(const Config& network, uint64_t seed) {
  ModulePtr model = Registry<Architecture>::create(network)->build(seed);
  for (Parameter* p : all_parameters(*model)) {
    if (p->name() == "bias") p->set_raw(normal_tensor(p->raw().shape(), ++seed, 0.2f));
    if (p->name() == "weight" && p->raw().rank() == 1) p->set_raw(uniform_tensor(p->raw().shape(), ++seed, 0.3f, 2));
  }
  model->set_training(false);
  return model;
}

}  // namespace qgrad::test
