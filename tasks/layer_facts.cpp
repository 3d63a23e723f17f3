// Observing the float network beside the quantized layers.
#include "tasks/layer_facts.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/layers/weighted_sum.h"
#include "quant/quantization.h"
#include "quant/simulation/param_layer.h"
#include "quant/wrappers.h"

namespace qgrad {
namespace {

constexpr size_t kMostBins = 100;

ValueRange steps_of(const std::vector<float>& scale) {
  const auto [least, largest] = std::ranges::minmax(scale);
  return {1 / largest, 1 / least};
}

// Numbers in float beside a grid.
TensorFacts facts_of(int bits, const ChannelGrid& grid, const Tensor& x) {
  TensorFacts facts{.bits = bits, .step = steps_of(grid.scale), .in_steps = grid.per_channel()};
  facts.levels =
      facts.in_steps ? ValueRange{grid.integers.qmin, grid.integers.qmax} : representable_range(grid.channel(0));
  std::vector<float> numbers(x.data().begin(), x.data().end());
  for (size_t i = 0; facts.in_steps && i < numbers.size(); ++i)
    numbers[i] = numbers[i] * grid.scale[i % grid.scale.size()] - grid.zero_point[i % grid.scale.size()];
  facts.histogram = Histogram::of(numbers);
  return facts;
}

// Numbers on a grid, as integers.
TensorFacts trained_facts(const Quantization& quantization, const Tensor& x) {
  const std::optional<ChannelGrid> grid = quantization.grid(x);
  if (!grid) return {.bits = quantization.bits(), .histogram = Histogram::of(x.data())};
  const std::vector<float> scale = grid->integer_scale();
  std::vector<int64_t> integers;
  for (size_t i = 0; i < x.data().size(); ++i) integers.push_back(std::lround(x.data()[i] * scale[i % scale.size()]));
  const auto [lowest, highest] = std::ranges::minmax(integers);
  if (highest - lowest >= Histogram::kBins)
    return {.bits = quantization.bits(), .step = steps_of(scale), .histogram = Histogram::of(x.data())};
  Histogram counts{1, lowest, std::vector<int64_t>(static_cast<size_t>(highest - lowest + 1))};
  for (const int64_t integer : integers) ++counts.counts[static_cast<size_t>(integer - lowest)];
  return {.bits = quantization.bits(),
          .step = steps_of(scale),
          .in_steps = true,
          .levels = ValueRange{static_cast<float>(lowest), static_cast<float>(highest)},
          .histogram = std::move(counts),
          .of_integers = true};
}

// The bits of an output whose grid is made anew for every batch; null where it stays in float.
std::optional<int> dynamic_bits(const PostTrainLayer& layer) {
  const Json params = layer.quant_params();
  if (!params.contains("output") || !params.at("output").is_object()) return std::nullopt;
  return params.at("output").at("bits").get<int>();
}

TensorFacts output_facts(PostTrainLayer& layer, const Tensor& y) {
  for (const QuantParamSlot& slot : layer.quant_param_slots())
    if (slot.scale == "output_scale") return facts_of(slot.settings.bits, slot.get(), y);
  return {.bits = dynamic_bits(layer), .histogram = Histogram::of(y.data())};
}

std::optional<TensorFacts> weight_facts(PostTrainLayer& layer, Module& reference) {
  const WeightedSum* sum = reference.weighted_sum();
  if (!sum) return std::nullopt;
  const RangeLinearQuantParamLayerWrapper* quantized = layer.param_layer();
  if (!quantized) return TensorFacts{.histogram = Histogram::of(sum->weight.raw().data())};
  return facts_of(quantized->weight().settings().bits, quantized->weight().grid(), sum->weight.raw());
}

class Gathering final : public CallObserver {
 public:
  Gathering(Module& quantized, Module& reference, const Tensor& images) {
    for (const CalledLayer& called : called_layers(quantized, images))
      if (const Module* module = find_module(reference, called.layer->path())) layers_[module] = called.layer;
  }
  void leave(Module& module, Inputs, const Tensor& y) override {
    const auto found = layers_.find(&module);
    if (found == layers_.end()) return;
    PostTrainLayer& layer = *found->second;
    facts_.push_back({.path = layer.path(),
                      .kind = std::string(module.kind()),
                      .weights = weight_facts(layer, module),
                      .input = std::nullopt,
                      .output = output_facts(layer, layer.activated(y))});
    layers_.erase(found);  // of the first call
  }
  std::vector<LayerFacts> take() { return std::move(facts_); }

 private:
  std::unordered_map<const Module*, PostTrainLayer*> layers_;
  std::vector<LayerFacts> facts_;
};

// Numbers before a quantization of activations, and what became of them.
TensorFacts facts_of(const Quantization& quantization, const Tensor& x, const Tensor& quantized) {
  TensorFacts facts{.bits = quantization.bits(), .uneven = quantization.levels().values};
  if (!facts.uneven.empty()) {
    facts.levels = {facts.uneven.front(), facts.uneven.back()};
  } else if (quantized.grid()) {
    facts.step = ValueRange{quantized.grid()->step(), quantized.grid()->step()};
    facts.levels = representable_range(*quantized.grid());
  }
  const bool is_positive = facts.levels && facts.levels->min >= 0;  // as that of what is a ReLU, too
  facts.histogram = Histogram::of((is_positive ? relu(x) : x).data());
  return facts;
}

class TrainedGathering final : public CallObserver {
 public:
  explicit TrainedGathering(Module& model) {
    for (const Parameter* p : all_parameters(model)) transforms_.insert(p->transform());
  }
  void leave(Module& module, Inputs x, const Tensor& y) override {
    const auto* activation = dynamic_cast<const Quantization*>(&module);
    if (activation && !transforms_.contains(&module)) add(*activation, x[0], y);
    const WeightedSum* sum = module.weighted_sum();
    const auto* of_weights = sum ? sum->weight.transform_slot().as<const Quantization>() : nullptr;
    if (!of_weights) return;
    LayerFacts& layer = layer_at(module.path());
    layer.kind = module.kind();
    if (!layer.weights) layer.weights = trained_facts(*of_weights, sum->weight());
  }
  std::vector<LayerFacts> take() { return std::move(facts_); }

 private:
  LayerFacts& layer_at(const std::string& path) {
    const auto known = std::ranges::find(facts_, path, &LayerFacts::path);
    return known != facts_.end() ? *known : facts_.emplace_back(LayerFacts{.path = path});
  }

  void add(const Quantization& quantization, const Tensor& x, const Tensor& quantized) {
    const QuantizationPlace place = place_of_quantization(quantization.path());
    LayerFacts& layer = layer_at(place.module);
    if (layer.kind.empty()) layer.kind = quantization.kind();
    std::optional<TensorFacts>& part = place.before ? layer.input : layer.output;
    if (!part) part = facts_of(quantization, x, quantized);  // at the first call
  }

  std::set<const Module*> transforms_;
  std::vector<LayerFacts> facts_;
};

Json tensor_json(const TensorFacts& facts) {
  Json json = {{"bits", facts.bits ? Json(*facts.bits) : Json(nullptr)}, {"in_steps", facts.in_steps}};
  if (facts.step) json.update({{"least_step", facts.step->min}, {"largest_step", facts.step->max}});
  if (facts.levels) {
    json["levels"] = {{"low", facts.levels->min}, {"high", facts.levels->max}};
    if (facts.uneven.empty())
      json["levels"]["step"] = facts.in_steps ? 1 : facts.step->min;
    else
      json["levels"]["uneven"] = facts.uneven;
  }
  Histogram coarse = facts.histogram;
  while (coarse.counts.size() > kMostBins) coarse = coarse.coarser();
  const double low = coarse.edge(0) - (facts.of_integers ? 0.5 : 0);  // bins lie around their integers
  json["histogram"] = {{"low", low}, {"bin_width", coarse.bin_width}, {"counts", coarse.counts}};
  return json;
}

}  // namespace

std::vector<LayerFacts> layer_facts(Module& quantized, Module& reference, const Tensor& images) {
  const Tape::Paused paused;
  Gathering gathering(quantized, reference, images);
  {
    const Observing observing(gathering);
    reference(images);
  }
  return gathering.take();
}

std::vector<LayerFacts> trained_layer_facts(Module& model, Inputs inputs) {
  const Tape::Paused paused;
  const EvaluationMode evaluating(model);
  TrainedGathering gathering(model);
  {
    const Observing observing(gathering);
    model.call(inputs);
  }
  return gathering.take();
}

Json to_json(const std::vector<LayerFacts>& layers) {
  Json list = Json::array();
  for (const LayerFacts& layer : layers) {
    list.push_back({{"path", layer.path}, {"kind", layer.kind}});
    if (layer.weights) list.back()["weights"] = tensor_json(*layer.weights);
    if (layer.input) list.back()["input"] = tensor_json(*layer.input);
    if (layer.output) list.back()["output"] = tensor_json(*layer.output);
  }
  return list;
}

}  // namespace qgrad
