// Each part of each layer is measured alone; what all parts cost together is the sum that the knapsack minimizes.
#include "apps/bit_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "apps/probes.h"
#include "apps/processes.h"
#include "core/error.h"
#include "quant/post_train/bit_allocation.h"
#include "tasks/quantization.h"
#include "tasks/sensitivity.h"

namespace qgrad {
namespace {

using What = Probe::What;

constexpr double kBitsOfKib = 8 * 1024;
constexpr double kOf8Bits = 8 * 8;  // bit operations of a multiplication

double cost_of(const Damage& damage, BitCost cost) {
  return cost == BitCost::noise ? std::pow(10, -damage.sqnr_db / 10) : damage.divergence;
}

// Of parts of layers whose bits are chosen together.
struct Decision {
  std::vector<Probe> parts;
  BitChoices choices;
};

// All that shares a budget.
struct Budgeted {
  std::string key;                 // in results
  double (*uniform)(double bits);  // the budget of so many bits everywhere
  double unit = 0;                 // of sizes: a budget is a multiple of it
  std::vector<Decision> decisions = {};

  BitAllocation best(double budget) const {
    check(least() <= budget * unit, "search.bits: {}: the smallest choices take {:g}, the budget is {:g}", key,
          least() / unit, budget);
    std::vector<BitChoices> choices;
    for (const Decision& decision : decisions) choices.push_back(decision.choices);
    return allocate_bits(choices, budget * unit);
  }
  // The best that every budget allows: those of uniform bits, in quarters.
  Json front() const {
    Json front = Json::array();
    for (int quarters = 4; quarters <= 4 * 32; ++quarters) {
      const double budget = uniform(quarters / 4.0);
      if (budget * unit < least() || budget * unit > most()) continue;
      const BitAllocation found = best(budget);
      front.push_back({{"budget", found.size / unit}, {"cost", found.cost}});
    }
    return front;
  }

 private:
  double least() const {
    double sum = 0;
    for (const Decision& decision : decisions) sum += std::ranges::min(decision.choices, {}, &BitChoice::size).size;
    return sum;
  }
  double most() const {
    double sum = 0;
    for (const Decision& decision : decisions) sum += std::ranges::max(decision.choices, {}, &BitChoice::size).size;
    return sum;
  }
};

using ChosenBits = std::vector<std::pair<Probe, int>>;

std::string in_words(const Damage& d) {
  return fmt::format("{}divergence {:.4f}  SQNR {:.2f} dB", d.top1 ? fmt::format("top1 {:.2f}  ", *d.top1) : "",
                     d.divergence, d.sqnr_db);
}

std::string in_words(const Json& report) {
  std::string text;
  for (const auto& [key, part] : report.items()) {
    if (part.contains("mean_bits"))
      text += fmt::format("{}: {:.3f} bits in the mean, {:.1f} KiB", key, part.at("mean_bits").get<double>(),
                          part.at("kib").get<double>());
    else if (part.contains("share"))
      text += fmt::format("bit operations: {:.4f} of those of 8 bits everywhere", part.at("share").get<double>());
    else
      continue;
    text += part.value("is_best", true) ? "\n" : ", perhaps not the best\n";
  }
  return text;
}

class BitSearch {
 public:
  BitSearch(const BitsConfig& bits, const ExperimentConfig& experiment, const Config& quantizer,
            const CalibrationConfig& calibration, const ImageTask& data, const std::filesystem::path& folder)
      : bits_(bits),
        cost_(bits.cost.value_or(data.dataset().class_names().empty() ? BitCost::noise : BitCost::divergence)),
        sensitivity_(experiment, quantizer, calibration, data,
                     {.bits = bits_.choices, .spare = false, .gradient_images = 0}),
        all_(measured(sensitivity_, {}, "search", folder, [](const std::vector<Damage>&) {})) {}

  SearchResult run() const {
    SearchResult found = bits_.accuracy_drop    ? under_drop(*bits_.accuracy_drop)
                         : bits_.bit_operations ? under({{bit_operations(), *bits_.bit_operations}})
                                                : under_means();
    const Damage after = sensitivity_.measure_config(found.quantizer);
    found.report.update({{"cost", enum_name(cost_)},
                         {"evaluations", all_.size() + 1 + found.report.value("trials", Json::array()).size()},
                         {"chosen", to_json(after)},
                         {"as_configured", to_json(all_[1])}});
    found.text += fmt::format("on the calibration images, before corrections: {}; as the config was: {}\n",
                              in_words(after), in_words(all_[1]));
    return found;
  }

 private:
  // What was measured of one part of a layer; empty where it is not quantized.
  BitChoices choices(const std::string& layer, What what, double size_of_bit) const {
    BitChoices choices;
    for (const Damage& d : all_)
      if (d.probe.what == what && d.probe.layer == layer)
        choices.push_back({{d.probe.bits}, size_of_bit * d.probe.bits, cost_of(d, cost_)});
    return choices;
  }

  std::vector<Probe> layers_with(What what) const {
    std::vector<Probe> layers;
    for (const Probe& probe : sensitivity_.probes())
      if (probe.what == what && (layers.empty() || layers.back().layer != probe.layer)) layers.push_back(probe);
    return layers;
  }

  // Mean bits: each layer decides by itself.
  Budgeted mean_bits(What what) const {
    Budgeted budgeted{enum_name(what), [](double bits) { return bits; }};
    for (const Probe& layer : layers_with(what)) {
      const auto numbers = static_cast<double>(sensitivity_.numbers_of(layer));
      budgeted.unit += numbers;
      budgeted.decisions.push_back({{layer}, choices(layer.layer, what, numbers)});
    }
    return budgeted;
  }

  // Each of these choices beside each of a layer's weights, which meet numbers of so many bits.
  BitChoices with_weights(const BitChoices& others, const LayerWork& work, int bits_input) const {
    const double size_of_bit = work.multiplications * bits_input;
    BitChoices weights = choices(work.layer, What::weights, size_of_bit);
    if (weights.empty()) weights.push_back({{}, size_of_bit * work.bits_weights, 0});
    BitChoices both;
    for (const BitChoice& other : others)
      for (const BitChoice& own : weights) {
        both.push_back({other.bits, other.size + own.size, other.cost + own.cost});
        both.back().bits.insert(both.back().bits.end(), own.bits.begin(), own.bits.end());
      }
    return worth_trying(std::move(both));
  }

  // Bit operations: what a layer gives decides with all weights that it meets.
  Budgeted bit_operations() const {
    Budgeted budgeted{"bit_operations", [](double bits) { return bits * bits / kOf8Bits; }};
    std::vector<LayerWork> work = sensitivity_.work(sensitivity_.quantizer());
    std::vector<Probe> weights = layers_with(What::weights);
    // The probe of a layer's weights, which are then decided about; none where they are not quantized.
    const auto take = [&](const std::string& layer, std::vector<Probe>& into) {
      const auto probe = std::ranges::find(weights, layer, &Probe::layer);
      if (probe == weights.end()) return;
      into.push_back(*probe);
      weights.erase(probe);
    };
    for (const LayerWork& layer : work) budgeted.unit += layer.multiplications * kOf8Bits;
    for (const Probe& giver : layers_with(What::activations)) {
      Decision decision{{giver}, {}};
      for (const BitChoice& given : choices(giver.layer, What::activations, 0)) {
        BitChoices together{given};
        for (const LayerWork& layer : work)
          if (layer.input.of == giver.layer) together = with_weights(together, layer, given.bits[0]);
        decision.choices.insert(decision.choices.end(), together.begin(), together.end());
      }
      for (const LayerWork& layer : work)
        if (layer.input.of == giver.layer) take(layer.layer, decision.parts);
      budgeted.decisions.push_back(std::move(decision));
    }
    for (const LayerWork& layer : work)
      if (layer.input.of.empty()) {
        budgeted.decisions.push_back({{}, with_weights({BitChoice{}}, layer, layer.input.bits)});
        take(layer.layer, budgeted.decisions.back().parts);
      }
    for (const Probe& table : weights) budgeted.decisions.push_back({{table}, choices(table.layer, What::weights, 0)});
    return budgeted;
  }

  // What keeps its bits: all that no budget is of.
  ChosenBits others(const std::vector<std::pair<Budgeted, double>>& budgets) const {
    ChosenBits bits;
    for (const What what : {What::weights, What::activations})
      for (const Probe& layer : layers_with(what)) {
        const bool is_decided = std::ranges::any_of(budgets, [&](const auto& budget) {
          return std::ranges::any_of(budget.first.decisions, [&](const Decision& decision) {
            return std::ranges::find(decision.parts, layer) != decision.parts.end();
          });
        });
        if (!is_decided) bits.emplace_back(layer, sensitivity_.own_bits(layer));
      }
    return bits;
  }

  SearchResult under(const std::vector<std::pair<Budgeted, double>>& budgets) const {
    ChosenBits bits = others(budgets);
    Json report = Json::object();
    for (const auto& [budgeted, budget] : budgets) {
      if (budgeted.decisions.empty()) continue;
      const BitAllocation best = budgeted.best(budget);
      for (size_t i = 0; i < best.bits.size(); ++i)
        for (size_t part = 0; part < best.bits[i].size(); ++part)
          bits.emplace_back(budgeted.decisions[i].parts[part], best.bits[i][part]);
      report[budgeted.key] = {{"expected_cost", best.cost}, {"is_best", best.is_best}, {"front", budgeted.front()}};
    }
    Json quantizer = sensitivity_.with_bits(bits);
    report.merge_patch(amounts(quantizer, bits));
    report["bits"] = by_layer(bits);
    std::string text = in_words(report);
    return {std::move(quantizer), std::move(report), std::move(text)};
  }

  // What the bits come to, whatever the budget was of.
  Json amounts(const Json& quantizer, const ChosenBits& bits) const {
    Json amounts = Json::object();
    for (const What what : {What::weights, What::activations}) {
      double all = 0, numbers = 0;
      for (const auto& [layer, count] : bits)
        if (layer.what == what) {
          numbers += static_cast<double>(sensitivity_.numbers_of(layer));
          all += static_cast<double>(sensitivity_.numbers_of(layer)) * count;
        }
      if (numbers > 0) amounts[enum_name(what)] = {{"mean_bits", all / numbers}, {"kib", all / kBitsOfKib}};
    }
    double operations = 0, of_8_bits = 0;
    for (const LayerWork& layer : sensitivity_.work(quantizer)) {
      operations += layer.bit_operations();
      of_8_bits += layer.multiplications * kOf8Bits;
    }
    if (of_8_bits > 0) amounts["bit_operations"] = {{"share", operations / of_8_bits}, {"giga", operations / 1e9}};
    return amounts;
  }

  // [{"layer", "weights", "activations"}], in the order of the layers: one of these, or both.
  Json by_layer(const ChosenBits& bits) const {
    Json layers = Json::array();
    for (const Probe& probe : sensitivity_.probes())
      if (!probe.layer.empty() && (layers.empty() || layers.back().at("layer") != probe.layer))
        layers.push_back({{"layer", probe.layer}});
    for (const auto& [probe, chosen] : bits)
      for (Json& layer : layers)
        if (layer.at("layer") == probe.layer) layer[enum_name(probe.what)] = chosen;
    return layers;
  }

  SearchResult under_means() const {
    std::vector<std::pair<Budgeted, double>> budgets;
    if (bits_.mean_weights || bits_.weights_kib) {
      Budgeted weights = mean_bits(What::weights);
      const double budget = bits_.mean_weights ? *bits_.mean_weights : *bits_.weights_kib * kBitsOfKib / weights.unit;
      budgets.emplace_back(std::move(weights), budget);
    }
    if (bits_.mean_activations) budgets.emplace_back(mean_bits(What::activations), *bits_.mean_activations);
    return under(budgets);
  }

  SearchResult under_mean(double mean) const {
    return under({{mean_bits(What::weights), mean}, {mean_bits(What::activations), mean}});
  }

  // By bisection over means in eighths of a bit: fewer bits lose more, as a rule.
  SearchResult under_drop(double drop) const {
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
    SearchResult found = under_mean(enough / 8.0);
    found.report["trials"] = std::move(trials);
    return found;
  }

  const BitsConfig& bits_;
  BitCost cost_;
  Sensitivity sensitivity_;
  std::vector<Damage> all_;  // the float network, the network as it is configured, then the probes of layers
};

}  // namespace

std::vector<std::pair<std::string, BitCost>> enum_names(BitCost*) {
  return {{"divergence", BitCost::divergence}, {"noise", BitCost::noise}};
}

void fields(Fields& v, BitsConfig& c) {
  v("choices", c.choices, {.help = "the bits that a layer may get"});
  v("cost", c.cost,
    {.help =
         "what the bits of all layers together cost least of: \"divergence\" of the answers' softmax from the float "
         "network's, or \"noise\" in the outputs; null: divergence where images have classes"});
  v("mean_weights", c.mean_weights,
    {.help = "budget: mean bits of all weights; null, as for weights_kib: weights keep the bits they have",
     .min = 1,
     .max = 32});
  v("weights_kib", c.weights_kib, {.help = "the same budget as the size of all weights in KiB", .min = 0});
  v("mean_activations", c.mean_activations,
    {.help = "budget: mean bits of all that layers give; null: it keeps the bits it has", .min = 1, .max = 32});
  v("bit_operations", c.bit_operations,
    {.help = "budget for both: multiplications x bits of the weight x bits of what it meets, over all layers with "
             "weights, as a share of those of 8-bit weights and activations: 0.25 is that of 4 bits everywhere",
     .min = 0,
     .max = 16,
     .above_min = true});
  v("accuracy_drop", c.accuracy_drop,
    {.help = "instead of budgets: the least mean bits, for weights and for what layers give, that lose no more than "
             "these points on the calibration images, before corrections",
     .min = 0,
     .max = 100});
}

void check_bits(const BitsConfig& bits, const std::string& where) {
  const bool has_means = bits.mean_weights || bits.weights_kib || bits.mean_activations;
  if (!has_means && !bits.bit_operations && !bits.accuracy_drop)
    config_error(where,
                 "expected a budget: mean_weights or weights_kib, mean_activations or both, or bit_operations; or "
                 "accuracy_drop");
  if (bits.mean_weights && bits.weights_kib)
    config_error(where, "mean_weights and weights_kib are two budgets for the same");
  if (bits.bit_operations && has_means)
    config_error(where, "bit_operations is a budget for weights and activations: no other can be given beside it");
  if (bits.accuracy_drop && (has_means || bits.bit_operations))
    config_error(where, "accuracy_drop finds the budgets itself: none can be given beside it");
}

SearchResult search_bits(const BitsConfig& bits, const ExperimentConfig& experiment, const Config& quantizer,
                         const CalibrationConfig& calibration, const ImageTask& data,
                         const std::filesystem::path& folder) {
  const BitSearch search(bits, experiment, quantizer, calibration, data, folder);
  if (!is_first_process()) return {};
  SearchResult found = search.run();
  add_corrections(quantizer, found.quantizer);
  return found;
}

}  // namespace qgrad
