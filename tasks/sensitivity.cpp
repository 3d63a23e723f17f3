// One quantized network for every probe, all by overrides of the quantizer's own config.
#include "tasks/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/ops.h"
#include "core/random.h"
#include "core/tape.h"
#include "nn/fold.h"
#include "nn/layers/weighted_sum.h"
#include "quant/post_train/layer_report.h"
#include "quant/simulation/param_layer.h"
#include "tasks/metrics.h"
#include "tasks/quantization.h"

namespace qgrad {
namespace {

using What = Probe::What;

constexpr int64_t kImagesAtLayer = 16;  // of which the noise at a layer is measured

Tensor first_output(const Tensor& y) { return y.rank() == 2 ? y : reshape(y, {y.dim(0), y.numel() / y.dim(0)}); }

size_t largest_of(std::span<const float> row) {
  return static_cast<size_t>(std::ranges::max_element(row) - row.begin());
}

// The divergence of one softmax from another (Kullback and Leibler), in nats.
double divergence(std::span<const float> logits, std::span<const float> expected) {
  const auto log_of_sum = [](std::span<const float> row) {
    const double largest = std::ranges::max(row);
    double sum = 0;
    for (const float x : row) sum += std::exp(x - largest);
    return largest + std::log(sum);
  };
  const double of_expected = log_of_sum(expected), of_logits = log_of_sum(logits);
  double sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double log_p = expected[i] - of_expected;
    sum += std::exp(log_p) * (log_p - (logits[i] - of_logits));
  }
  return sum;
}

double inner_product(const Tensor& a, const Tensor& b) {
  return std::inner_product(a.data().begin(), a.data().end(), b.data().begin(), 0.0);
}

std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, {}, [&](size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0, last = 0; first < order.size(); first = last) {
    while (last < order.size() && values[order[last]] == values[order[first]]) ++last;
    for (size_t i = first; i < last; ++i) ranks[order[i]] = static_cast<double>(first + last - 1) / 2;
  }
  return ranks;
}

// What the layers of weighted sums multiply with, by path.
std::map<std::string, Tensor> weights_as_used(Module& model) {
  std::map<std::string, Tensor> weights;
  visit_modules<RangeLinearQuantParamLayerWrapper>(
      model, [&](RangeLinearQuantParamLayerWrapper& layer) { weights[layer.path()] = layer.weight().dequantized(); });
  visit_modules(model, [&](Module& layer) {
    if (WeightedSum* sum = layer.weighted_sum(); sum && !weights.contains(layer.path()))
      weights[layer.path()] = sum->weight();
  });
  return weights;
}

}  // namespace

void fields(Fields& v, SensitivityConfig& c) {
  v("bits", c.bits,
    {.help = "bits that the weights of each layer, and what it gives, are quantized with, one at a time"});
  v("spare", c.spare, {.help = "also quantize everything but one layer, as the quantizer's config says"});
  v("gradient_images", c.gradient_images,
    {.help = "images of which gradients estimate the same for weights; 0: no estimate", .min = 0, .max = 1e6});
}

std::vector<std::pair<std::string, What>> enum_names(What*) {
  return {{"nothing", What::nothing},
          {"everything", What::everything},
          {"weights", What::weights},
          {"activations", What::activations},
          {"all_but", What::all_but}};
}

Json to_json(const Damage& d) {
  const auto or_null = [](const auto& value) { return value ? Json(*value) : Json(nullptr); };
  Json json{{"what", enum_name(d.probe.what)}};
  if (!d.probe.layer.empty()) json["layer"] = d.probe.layer;
  if (d.probe.bits > 0) json["bits"] = d.probe.bits;
  json["top1"] = or_null(d.top1);
  json["loss"] = or_null(d.loss);
  json["agreement"] = d.agreement;
  json["divergence"] = d.divergence;
  json["sqnr_db"] = std::isfinite(d.sqnr_db) ? Json(d.sqnr_db) : Json(nullptr);
  if (d.layer_sqnr_db) json["layer_sqnr_db"] = std::isfinite(*d.layer_sqnr_db) ? Json(*d.layer_sqnr_db) : Json(nullptr);
  if (d.estimate) json["estimate"] = *d.estimate;
  return json;
}

Damage damage_of(const Json& json) try {
  const auto number = [&](const char* key) {
    return json.at(key).is_null() ? std::nullopt : std::optional(json.at(key).get<double>());
  };
  Damage d;
  const auto names = enum_names(static_cast<What*>(nullptr));
  const auto what = std::ranges::find(names, json.at("what").get<std::string>(), &std::pair<std::string, What>::first);
  check(what != names.end(), "sensitivity: no such probe: {}", json_line(json));
  d.probe = {what->second, json.value("layer", ""), json.value("bits", 0)};
  d.top1 = number("top1");
  d.loss = number("loss");
  d.agreement = json.at("agreement").get<double>();
  d.divergence = json.at("divergence").get<double>();
  d.sqnr_db = number("sqnr_db").value_or(INFINITY);
  if (json.contains("layer_sqnr_db")) d.layer_sqnr_db = number("layer_sqnr_db").value_or(INFINITY);
  if (json.contains("estimate")) d.estimate = number("estimate");
  return d;
} catch (const Json::exception&) {
  fail("sensitivity: expected a probe as this command writes it, got {}", json_line(json));
}

double lost(const Damage& damage, const Damage& of_float) {
  return damage.top1 ? *of_float.top1 - *damage.top1 : 100 - damage.agreement;
}

Sensitivity::Sensitivity(const ExperimentConfig& experiment, Config quantizer, const CalibrationConfig& calibration,
                         const ImageTask& data, const SensitivityConfig& config)
    : experiment_(experiment), quantizer_(std::move(quantizer)), data_(data), config_(config) {
  quantizer_ = without_corrections(std::move(quantizer_));
  const ModulePtr model = float_model();
  stats_ = calibration_stats(*model, data, calibration, "calibration");
  Loader loader = data.calibration(calibration);
  loader.start_epoch(0);
  const Tape::Paused paused;
  while (auto batch = loader.next()) {
    expected_.push_back(first_output((*model)(batch->images)));
    examples_ += batch->images.dim(0);
    images_.push_back(std::move(*batch));
  }
  visit_modules(*model, [&](Module& module) {
    if (const WeightedSum* sum = module.weighted_sum()) weights_[module.path()] = sum->weight.raw().numel();
  });
  ModulePtr prepared = float_model();
  const auto whole = prepare(prepared, quantizer_.json());
  for (const CalledLayer& called : called_layers(*prepared, data_.example()))
    if (called.quantizes_inputs) quantizes_inputs_.insert(called.layer->path());
  for (size_t i = 0; i < config.bits.size(); ++i)
    check(std::ranges::count(config.bits, config.bits[i]) == 1, "sensitivity: {} bits are listed twice",
          config.bits[i]);
  check(!config.bits.empty(), "sensitivity: expected numbers of bits to try, got none");
  probes_ = {{What::nothing}, {What::everything}};
  for (const Quantizer::Resolved& layer : whole->resolved()) {
    if (layer.bits == Bits{}) continue;
    layers_.push_back(layer);
    for (const auto& [what, has] : {std::pair(What::weights, layer.bits.weights.has_value()),
                                    {What::activations, layer.bits.activations.has_value()}})
      for (const int bits : config.bits)
        if (has) probes_.push_back({what, layer.path, bits});
    if (config.spare) probes_.push_back({What::all_but, layer.path});
  }
  check(!layers_.empty(), "{}: quantizes nothing of this network", quantizer_.where());
}

ModulePtr Sensitivity::float_model() const {
  ModulePtr model = build_model(experiment_.model, experiment_.seed, experiment_.checkpoint);
  model->set_training(false);
  check_statistics(*model, quantizer_, std::nullopt);
  Registry<Quantizer>::create(quantizer_)->prepare_float(model, data_.example());
  return model;
}

Json Sensitivity::quantizer_of(const Probe& probe) const {
  Json config = quantizer_.json();
  if (probe.what == What::everything) return config;
  if (probe.what == What::all_but) {
    // A path counts before any expression.
    Json overrides = {{probe.layer, {{"bits_weights", nullptr}, {"bits_activations", nullptr}}}};
    if (config.contains("overrides"))
      for (const auto& [pattern, settings] : config["overrides"].items())
        if (pattern != probe.layer) overrides[pattern] = settings;
    config["overrides"] = overrides;
    return config;
  }
  config = with_bits({{probe, probe.bits}});
  if (probe.what != What::activations) return config;
  Json settings = {{"fpq_module", 32}, {"fake", true}, {"quantize_inputs", quantizes_inputs_.contains(probe.layer)}};
  settings.update(config["overrides"][probe.layer]);
  config["overrides"][probe.layer] = settings;
  return config;
}

ModulePtr Sensitivity::quantized(const Json& config) const {
  ModulePtr model = float_model();
  prepare(model, config);
  model->set_training(false);
  return model;
}

std::unique_ptr<Quantizer> Sensitivity::prepare(ModulePtr& model, const Json& config) const {
  auto quantizer = Registry<Quantizer>::create({config, quantizer_.file, quantizer_.path});
  if (quantizer->wants_stats()) quantizer->set_stats(stats_);
  if (config != quantizer_.json()) quantizer->allow_idle_overrides();  // a probe leaves much in float
  quantizer->prepare(model, nullptr, data_.example());
  return quantizer;
}

Damage Sensitivity::measure(const Probe& probe) const {
  if (probe.what == What::nothing) return damage(*float_model(), probe);
  const ModulePtr model = quantized(quantizer_of(probe));
  Damage found = damage(*model, probe);
  if (probe.bits == 0) return found;
  const Tensor& first = images_[0].images;
  const Tensor few = slice(first, 0, 0, std::min(kImagesAtLayer, first.dim(0)));
  for (const LayerError& layer : layer_report(*model, *float_model(), std::span(&few, 1)))
    if (layer.path == probe.layer) found.layer_sqnr_db = layer.sqnr_db;
  return found;
}

Damage Sensitivity::measure_config(const Json& config) const { return damage(*quantized(config), {What::everything}); }

int64_t Sensitivity::numbers_of(const Probe& probe) const {
  if (probe.what == What::weights) return weights_.at(probe.layer);
  return stats_.at(probe.layer).output.total_numel / examples_;
}

int Sensitivity::own_bits(const Probe& probe) const {
  const auto layer = std::ranges::find(layers_, probe.layer, &Quantizer::Resolved::path);
  check(layer != layers_.end(), "sensitivity: '{}' is not quantized", probe.layer);
  return (probe.what == What::weights ? layer->bits.weights : layer->bits.activations).value();
}

std::vector<LayerWork> Sensitivity::work(const Json& config) const {
  const ModulePtr model = float_model();
  const Graph graph = Graph::trace(*model, data_.example());
  ModulePtr prepared = float_model();
  return work_of_layers(graph, prepare(prepared, config)->resolved());
}

Json Sensitivity::with_bits(const std::vector<std::pair<Probe, int>>& bits) const {
  Json config = quantizer_.json();
  config["bits_weights"] = config["bits_activations"] = nullptr;
  Json& overrides = config["overrides"] = Json::object();
  for (const Quantizer::Resolved& layer : layers_) overrides[layer.path] = layer.settings.json();
  for (const auto& [probe, count] : bits)
    overrides[probe.layer][probe.what == What::weights ? "bits_weights" : "bits_activations"] = count;
  return config;
}

Damage Sensitivity::damage(Module& model, const Probe& probe) const {
  const Tape::Paused paused;
  const bool has_labels = !data_.dataset().class_names().empty();
  Metrics metrics;
  double signal = 0, noise = 0, from_float = 0;
  int64_t same = 0, examples = 0;
  for (size_t i = 0; i < images_.size(); ++i) {
    const Tensor y = first_output(model(images_[i].images));
    const Tensor& expected = expected_[i];
    if (has_labels) metrics.add(y, images_[i].labels);
    signal += sum(square(expected)).item();
    noise += squared_distance(y, expected).item();
    const auto width = static_cast<size_t>(y.dim(1));
    for (size_t at = 0; at < y.data().size(); at += width, ++examples) {
      const std::span row = y.data().subspan(at, width), expected_row = expected.data().subspan(at, width);
      same += largest_of(row) == largest_of(expected_row);
      from_float += divergence(row, expected_row);
    }
  }
  Damage damage{.probe = probe, .top1 = {}, .loss = {}, .estimate = {}};
  if (has_labels) {
    damage.top1 = metrics.top1();
    damage.loss = metrics.loss();
  }
  damage.agreement = 100.0 * static_cast<double>(same) / static_cast<double>(examples);
  damage.divergence = from_float / static_cast<double>(examples);
  damage.sqnr_db = noise == 0 ? INFINITY : 10 * std::log10(signal / noise);
  return damage;
}

std::vector<double> Sensitivity::estimates() const {
  // What rounding changes of each layer's weights, by layer and bits.
  std::map<std::pair<std::string, int>, Tensor> changes;
  const ModulePtr model = float_model();
  for (const int bits : config_.bits) {
    std::vector<std::pair<Probe, int>> all;
    for (const Quantizer::Resolved& layer : layers_)
      if (layer.bits.weights) all.emplace_back(Probe{What::weights, layer.path}, bits);
    const ModulePtr rounded = quantized(with_bits(all));
    const std::map<std::string, Tensor> weights = weights_as_used(*rounded);
    for (const auto& [probe, count] : all)
      if (const WeightedSum* layer = find_module(*model, probe.layer)->weighted_sum())
        changes[{probe.layer, bits}] = sub(weights.at(probe.layer), layer->weight.raw());
  }
  std::map<std::pair<std::string, int>, double> sums;
  RandomStream random(experiment_.seed, "sensitivity");
  int64_t done = 0;
  for (const Batch& batch : images_)
    for (int64_t i = 0; i < batch.images.dim(0) && done < config_.gradient_images; ++i, ++done) {
      Tape tape;
      {
        const Tape::Recording recording(tape);
        const Tensor y = first_output((*model)(slice(batch.images, 0, i, i + 1)));
        Tensor direction = Tensor::empty(y.shape());
        for (float& x : direction.mutable_data()) x = random.normal();
        tape.backward(sum(mul(y, direction)));
      }
      for (const auto& [key, change] : changes) {
        Tensor& weight = layer_parameters(*find_module(*model, key.first)).weight.raw();
        const double slope = inner_product(weight.grad(), change);
        sums[key] += slope * slope;
      }
      for (Parameter* p : all_parameters(*model)) p->raw().set_grad({});
    }
  std::vector<double> estimates;
  for (const Probe& probe : probes_)
    if (probe.what == What::weights) {
      const auto sum = sums.find({probe.layer, probe.bits});
      estimates.push_back(sum == sums.end() || done == 0 ? 0 : sum->second / static_cast<double>(done));
    }
  return estimates;
}

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  check(a.size() == b.size(), "rank correlation: {} and {} values", a.size(), b.size());
  const std::vector<double> x = ranks_of(a), y = ranks_of(b);
  const double mean = static_cast<double>(a.size() - 1) / 2;
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xy += (x[i] - mean) * (y[i] - mean);
    xx += (x[i] - mean) * (x[i] - mean);
    yy += (y[i] - mean) * (y[i] - mean);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : 0;
}

}  // namespace qgrad
