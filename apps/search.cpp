// qgrad search CONFIG: searches quantization parameters on calibration images, and writes a config for qgrad quantize.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "apps/command.h"
#include "apps/probes.h"
#include "apps/processes.h"
#include "apps/report/report.h"
#include "apps/run_facts.h"
#include "quant/post_train/bit_allocation.h"
#include "quant/post_train/greedy_search.h"
#include "quant/post_train/lapq.h"
#include "tasks/image_settings.h"
#include "tasks/metrics.h"
#include "tasks/output_folder.h"
#include "tasks/progress.h"
#include "tasks/quantization.h"
#include "tasks/sensitivity.h"

namespace qgrad {
namespace {

// Budgets, of means over all weights and over all numbers that layers give; or how much accuracy may be lost.
struct BitsConfig {
  std::vector<int> choices{3, 4, 5, 6, 8};
  std::optional<double> mean_weights, weights_kib, mean_activations, accuracy_drop;

  bool has_budget() const { return mean_weights || weights_kib || mean_activations; }
};
void fields(Fields& v, BitsConfig& c) {
  v("choices", c.choices, {.help = "the bits that a layer may get"});
  v("mean_weights", c.mean_weights,
    {.help = "budget: mean bits of all weights; null, as for weights_kib: weights keep the bits they have",
     .min = 1,
     .max = 32});
  v("weights_kib", c.weights_kib, {.help = "the same budget as the size of all weights in KiB", .min = 0});
  v("mean_activations", c.mean_activations,
    {.help = "budget: mean bits of all that layers give; null: it keeps the bits it has", .min = 1, .max = 32});
  v("accuracy_drop", c.accuracy_drop,
    {.help = "instead of budgets: the least mean bits, for weights and for what layers give, that lose no more than "
             "these points on the calibration images, before corrections",
     .min = 0,
     .max = 100});
}

struct SearchConfig {
  std::optional<LapqConfig> lapq;
  std::optional<GreedyConfig> greedy;
  std::optional<BitsConfig> bits;
};
void fields(Fields& v, SearchConfig& c) {
  v("lapq", c.lapq, {.help = "scales or clipping values, one after another"});
  v("greedy", c.greedy, {.help = "clip modes, layer by layer"});
  v("bits", c.bits, {.help = "bits of every layer, under budgets or a limit of what they may cost"});
}

struct SearchCommandConfig : ExperimentConfig {
  ClassConfig<Quantizer> quantizer;
  CalibrationConfig calibration;
  SearchConfig search;
};
void fields(Fields& v, SearchCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("calibration", c.calibration, {.help = "images that set the ranges, and that the search goes by"});
  v("search", c.search, {.help = "one of lapq, greedy and bits", .required = true});
}

struct Found {
  Json quantizer;
  Json report;
  std::string text;
};

// Calibration images with their labels, in memory.
class Judge {
 public:
  Judge(const ExperimentData& data, const CalibrationConfig& config) {
    Loader loader = data.calibration(config);
    loader.start_epoch(0);
    while (auto batch = loader.next()) batches_.push_back(std::move(*batch));
  }
  Metrics operator()(Module& model) const {
    Metrics metrics;
    for (const Batch& batch : batches_) metrics.add(model(batch.images), batch.labels);
    return metrics;
  }
  const Tensor& first_images() const { return batches_.at(0).images; }

 private:
  std::vector<Batch> batches_;
};

// The settings that the search is run with: those that come afterwards are off.
Config without_corrections(const Config& quantizer) {
  return Registry<Quantizer>::create(quantizer)->without_corrections(quantizer);
}

// The corrections of the config, for what a search found without them.
void add_corrections(const Config& from, Json& to) {
  for (const char* key : {"scale_correction", "bias_correction", "learned_rounding", "reconstruction"})
    if (from.has(key)) to[key] = from.json()[key];
}

Found search_lapq(const SearchCommandConfig& config, const ExperimentData& data, const Judge& judge) {
  const LapqConfig& lapq = *config.search.lapq;
  Config searched = config.quantizer;
  Json& quantizer = searched.json();
  quantizer["save_fp_weights"] = quantizer["also_clip_weights"] = true;
  quantizer["clip_acts"] = lapq.init >= LapqInit::l1 ? "NONE" : enum_name(lapq.init);
  if (quantizer.contains("overrides"))
    for (auto& [pattern, settings] : quantizer["overrides"].items())
      for (const char* key : {"clip_acts", "clip_n_stds", "clip_percentile"}) settings.erase(key);
  ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
  const Quantized quantized = quantize_model(model, config.model, without_corrections(searched), nullptr, data,
                                             config.calibration, "calibration");
  Progress progress("search", lapq.max_evaluations, "evaluations");
  const LapqResult result = lapq_search(
      *model, *quantized.reference, judge.first_images(), [&](Module& m) { return judge(m).loss(); }, lapq,
      [&](double loss, int evaluations) { progress.update(evaluations, fmt::format("loss {:.5f}", loss)); });
  quantizer["quant_params"] = result.quant_params;
  return {quantizer,
          {{"first_loss", result.first_loss}, {"loss", result.loss}, {"evaluations", result.evaluations}},
          fmt::format("loss on the calibration images: {:.5f} at first, {:.5f} found, {} evaluations\n",
                      result.first_loss, result.loss, result.evaluations)};
}

Found search_greedy(const SearchCommandConfig& config, const ExperimentData& data, const Judge& judge) {
  const Config base = without_corrections(config.quantizer);
  const auto quantizer = Registry<Quantizer>::create(base);
  const auto float_model = [&] {
    ModulePtr model = build_model(config.model, config.seed, config.checkpoint);
    model->set_training(false);
    quantizer->prepare_float(model, data.example());
    return model;
  };
  const QuantStats stats = calibration_stats(*float_model(), data, config.calibration, "calibration");
  // Wrong answers; of equals the lower loss.
  const auto cost = [&](Module& m) {
    const Metrics metrics = judge(m);
    return (100 - metrics.top1()) + 1e-6 * metrics.loss();
  };
  GreedyResult result = greedy_search(base.json(), float_model, stats, data.example(), cost, *config.search.greedy,
                                      [](const std::string& path, size_t done, size_t all) {
                                        note(fmt::format("search  {} ({} of {})", path, done, all));
                                      });
  add_corrections(config.quantizer, result.quantizer);
  return {
      result.quantizer,
      {{"calibration_top1", 100 - result.cost}, {"evaluations", result.evaluations}},
      fmt::format("top1 on the calibration images: {:.2f}, {} evaluations\n", 100 - result.cost, result.evaluations)};
}

constexpr double kBitsOfKib = 8 * 1024;

// The share of the outputs that is noise, which adds up over layers as long as there is little of it.
double noise_of(const Damage& damage) { return std::pow(10, -damage.sqnr_db / 10); }

// What each probe of one kind costs, by layer, in the order of the layers.
struct Measured {
  std::vector<Probe> layers;
  std::vector<std::vector<BitChoice>> choices;
  double numbers = 0;
};
Measured measured_of(const Sensitivity& sensitivity, const std::vector<Damage>& all, Probe::What what) {
  Measured measured;
  for (const Damage& d : all) {
    if (d.probe.what != what) continue;
    const auto numbers = static_cast<double>(sensitivity.numbers_of(d.probe));
    if (measured.layers.empty() || measured.layers.back().layer != d.probe.layer) {
      measured.layers.push_back(d.probe);
      measured.choices.emplace_back();
      measured.numbers += numbers;
    }
    measured.choices.back().push_back({d.probe.bits, numbers * d.probe.bits, noise_of(d)});
  }
  return measured;
}

// The best that every mean number of bits allows, in quarters of a bit.
Json front_of(const Measured& measured) {
  Json front = Json::array();
  double least = 0, most = 0;
  for (const auto& choices : measured.choices) {
    least += std::ranges::min(choices, {}, &BitChoice::size).size;
    most += std::ranges::max(choices, {}, &BitChoice::size).size;
  }
  for (double mean = std::ceil(4 * least / measured.numbers) / 4; mean <= most / measured.numbers; mean += 0.25) {
    const BitAllocation best = allocate_bits(measured.choices, mean * measured.numbers);
    front.push_back({{"mean_bits", best.size / measured.numbers}, {"noise", best.cost}});
  }
  return front;
}

// Bits for some layers, and what there is to say of them.
struct ChosenBits {
  std::vector<std::pair<Probe, int>> bits;
  Json report;
  std::string text;
};
// `budget`: of all bits together; null: they stay as they are.
ChosenBits chosen_under(const Sensitivity& sensitivity, const Measured& measured, const std::optional<double>& budget,
                        const char* name) {
  ChosenBits chosen;
  if (measured.layers.empty()) return chosen;
  if (!budget) {
    for (const Probe& layer : measured.layers) chosen.bits.emplace_back(layer, sensitivity.own_bits(layer));
    return chosen;
  }
  const BitAllocation best = allocate_bits(measured.choices, *budget);
  for (size_t i = 0; i < measured.layers.size(); ++i) chosen.bits.emplace_back(measured.layers[i], best.bits[i]);
  chosen.report = {{"mean_bits", best.size / measured.numbers},
                   {"kib", best.size / kBitsOfKib},
                   {"expected_noise", best.cost},
                   {"is_best", best.is_best},
                   {"front", front_of(measured)}};
  chosen.text = fmt::format("{}: {:.3f} bits in the mean{}\n", name, best.size / measured.numbers,
                            best.is_best ? "" : ", perhaps not the best");
  return chosen;
}

// [{"layer", "weights", "activations"}], in the order of the layers: one of these, or both.
Json by_layer(const Sensitivity& sensitivity, const std::vector<std::pair<Probe, int>>& bits) {
  Json layers = Json::array();
  for (const Probe& probe : sensitivity.probes())
    if (!probe.layer.empty() && (layers.empty() || layers.back().at("layer") != probe.layer))
      layers.push_back({{"layer", probe.layer}});
  for (const auto& [probe, chosen] : bits)
    for (Json& layer : layers)
      if (layer.at("layer") == probe.layer) layer[enum_name(probe.what)] = chosen;
  return layers;
}

std::string in_words(const Damage& d) {
  return fmt::format("{}SQNR {:.2f} dB", d.top1 ? fmt::format("top1 {:.2f}  ", *d.top1) : "", d.sqnr_db);
}

// All layers' weights, and all that layers give.
class BitSearch {
 public:
  BitSearch(const SearchCommandConfig& config, const ExperimentData& data, const std::filesystem::path& folder)
      : config_(config),
        bits_(*config.search.bits),
        sensitivity_(config, config.quantizer, config.calibration, data,
                     {.bits = bits_.choices, .spare = false, .gradient_images = 0}),
        all_(measured(sensitivity_, {}, "search", folder, [](const std::vector<Damage>&) {})),
        weights_(measured_of(sensitivity_, all_, Probe::What::weights)),
        activations_(measured_of(sensitivity_, all_, Probe::What::activations)) {}

  Found run() {
    if (!is_first_process()) return {};
    Found found = bits_.accuracy_drop ? under_drop(*bits_.accuracy_drop) : under_budgets();
    const Damage after = sensitivity_.measure_config(found.quantizer);
    found.report.update({{"evaluations", all_.size() + 1 + found.report.value("trials", Json::array()).size()},
                         {"chosen", to_json(after)},
                         {"as_configured", to_json(all_[1])}});
    found.text += fmt::format("on the calibration images, before corrections: {}; as the config was: {}\n",
                              in_words(after), in_words(all_[1]));
    add_corrections(config_.quantizer, found.quantizer);
    return found;
  }

 private:
  Found under(const std::optional<double>& weights, const std::optional<double>& activations) const {
    ChosenBits chosen = chosen_under(sensitivity_, weights_, weights, "weights");
    const ChosenBits more = chosen_under(sensitivity_, activations_, activations, "activations");
    chosen.bits.insert(chosen.bits.end(), more.bits.begin(), more.bits.end());
    Json report = Json::object();
    if (!chosen.report.is_null()) report["weights"] = chosen.report;
    if (!more.report.is_null()) report["activations"] = more.report;
    report["bits"] = by_layer(sensitivity_, chosen.bits);
    return {sensitivity_.with_bits(chosen.bits), std::move(report), chosen.text + more.text};
  }

  Found under_budgets() const {
    std::optional<double> weights, activations;
    if (bits_.mean_weights) weights = *bits_.mean_weights * weights_.numbers;
    if (bits_.weights_kib) weights = *bits_.weights_kib * kBitsOfKib;
    if (bits_.mean_activations) activations = *bits_.mean_activations * activations_.numbers;
    return under(weights, activations);
  }

  Found under_mean(double mean) const { return under(mean * weights_.numbers, mean * activations_.numbers); }

  // By bisection over means in eighths of a bit: fewer bits lose more, as a rule.
  Found under_drop(double drop) {
    const auto [fewest, most] = std::ranges::minmax(bits_.choices);
    Json trials = Json::array();
    const auto lost_by = [&](int eighths) {
      const double mean = eighths / 8.0;
      trials.push_back(
          {{"mean_bits", mean}, {"lost", lost(sensitivity_.measure_config(under_mean(mean).quantizer), all_[0])}});
      return trials.back().at("lost").get<double>();
    };
    int enough = 8 * most, too_few = 8 * fewest - 1;
    const double least = lost_by(enough);
    check(least <= drop, "search.bits.accuracy_drop: expected at most {:g} points, but {} bits everywhere lose {:.2f}",
          drop, most, least);
    while (enough - too_few > 1) {
      const int middle = (enough + too_few) / 2;
      (lost_by(middle) <= drop ? enough : too_few) = middle;
    }
    Found found = under_mean(enough / 8.0);
    found.report["trials"] = std::move(trials);
    return found;
  }

  const SearchCommandConfig& config_;
  const BitsConfig& bits_;
  Sensitivity sensitivity_;
  std::vector<Damage> all_;  // the float network, the network as it is configured, then the probes of layers
  Measured weights_, activations_;
};

Found found_by(const SearchCommandConfig& config, const ExperimentData& data, const std::filesystem::path& folder) {
  if (config.search.bits) return BitSearch(config, data, folder).run();
  const Judge judge(data, config.calibration);
  return config.search.lapq ? search_lapq(config, data, judge) : search_greedy(config, data, judge);
}

void check_bits(const BitsConfig& bits, const std::string& where) {
  if (!bits.has_budget() && !bits.accuracy_drop)
    config_error(where, "expected a budget: mean_weights or weights_kib, mean_activations or both; or accuracy_drop");
  if (bits.mean_weights && bits.weights_kib)
    config_error(where, "mean_weights and weights_kib are two budgets for the same");
  if (bits.has_budget() && bits.accuracy_drop)
    config_error(where, "accuracy_drop finds the budgets itself: none can be given beside it");
}

void run_search(const std::string& config_file, const CommonOptions& options) {
  auto config = read_command_config<SearchCommandConfig>(config_file, options);
  if (!config.checkpoint) config_error(config_file, "'checkpoint' is missing: the search needs a trained model");
  if (!is_post_training(config.quantizer))
    config_error(config.quantizer.where(),
                 "this quantizer works by training; a search is for those that quantize after it");
  const SearchConfig& search = config.search;
  if (search.lapq.has_value() + search.greedy.has_value() + search.bits.has_value() != 1)
    config_error(config_file + ": search", "expected exactly one of 'lapq', 'greedy' and 'bits'");
  if (!search.lapq) check_measures(config.calibration);
  if (search.bits) check_bits(*search.bits, config_file + ": search.bits");
  const auto shared = shared_folder(output_folder(options.out, config.name));
  OutputFolder& folder = *shared;
  folder.check_spares({config_file, *config.checkpoint}, {"config.json", "quantize.json", "results.json"});
  const auto task = open_task(config, options.data);
  if (!search.bits) check_labelled(*task);
  config.model = with_data(config.model, task->description());
  const ExperimentData& data = images_of(*task);
  check_can_write(folder.path() / "results.json");
  check_calibration(data, config.calibration, config_file, "calibration");
  check_post_training(config, config.quantizer, data, config.calibration);
  if (!is_first_process() && !search.bits) return;  // one evaluation depends on the other
  const Found found = found_by(config, data, folder.path());
  if (!is_first_process()) return;

  Json experiment = resolved_config(config, data);
  write_json(folder.to_write("config.json"), experiment);
  experiment.erase("search");
  experiment["quantizer"] = found.quantizer;
  const std::string file = folder.to_write("quantize.json").string();
  write_json(file, experiment);
  Json results = {{"name", config.name},
                  {"seed", config.seed},
                  {"dataset", data.describe()},
                  {"model", config.model.json()},
                  {"config", file}};
  results.update(found.report);
  write_results(folder, results, data);
  const std::filesystem::path page = write_report(folder, search_report(results));
  print_result(options, results, fmt::format("{}{}\n{}\n", found.text, file, page.string()));
}

const Subcommand search_command = config_command<SearchCommandConfig>(
    "search", "search quantization parameters; writes a config for `qgrad quantize`", run_search,
    "qgrad search configs/cifar10_resnet20_search_bits.json --out out/bits\n"
    "qgrad quantize out/bits/quantize.json");

}  // namespace

}  // namespace qgrad
