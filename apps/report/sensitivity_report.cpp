// The page of `qgrad sensitivity`: what each layer costs at each number of bits, and how well gradients tell it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "apps/report/bars.h"
#include "apps/report/chart.h"
#include "apps/report/colors.h"
#include "apps/report/page.h"
#include "apps/report/report.h"
#include "tasks/sensitivity.h"

namespace qgrad {
namespace {

using What = Probe::What;

// All that was measured: of the float network first, of the network as it is configured second, then of layers.
struct Measurements {
  std::vector<Damage> all;
  std::vector<std::string> layers;
  std::vector<int> bits;
  bool spared = false;

  explicit Measurements(const Json& results) {
    for (const Json& probe : results.at("probes")) {
      all.push_back(damage_of(probe));
      const Probe& last = all.back().probe;
      if (!last.layer.empty() && std::ranges::count(layers, last.layer) == 0) layers.push_back(last.layer);
      if (last.bits > 0 && std::ranges::count(bits, last.bits) == 0) bits.push_back(last.bits);
      spared |= last.what == What::all_but;
    }
  }
  std::optional<double> lost_by(const Probe& probe) const {
    const auto at = std::ranges::find(all, probe, &Damage::probe);
    return at == all.end() ? std::nullopt : std::optional(lost(*at, all[0]));
  }
  double worst_of(const std::string& layer) const {
    double worst = -100;
    for (const Damage& damage : all)
      if (damage.probe.layer == layer && damage.probe.bits > 0) worst = std::max(worst, lost(damage, all[0]));
    return worst;
  }
};

Table losses_table(const Measurements& measured) {
  Table table{{{"layer", Table::Align::left}}, {}};
  for (const char* part : {"W", "A"})
    for (const int bits : measured.bits) table.columns.push_back({fmt::format("{}{}", part, bits)});
  if (measured.spared) table.columns.push_back({"all but it"});
  const auto cell = [&](const Probe& probe) {
    const auto points = measured.lost_by(probe);
    return points ? fmt::format("{:.2f}", *points) : "";
  };
  for (const std::string& layer : measured.layers) {
    std::vector<std::string> row{layer};
    for (const What what : {What::weights, What::activations})
      for (const int bits : measured.bits) row.push_back(cell({what, layer, bits}));
    if (measured.spared) row.push_back(cell({What::all_but, layer}));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::string loss_bars(const Measurements& measured, What what, const char* of) {
  BarChart chart{.title = fmt::format("Lost with {} of one layer quantized", of),
                 .value_label = measured.all[0].top1 ? "points of top-1" : "points of agreement",
                 .series = {},
                 .groups = {}};
  for (const int bits : measured.bits) chart.series.push_back({fmt::format("{} bits", bits), color_of_bits(bits)});
  for (const std::string& layer : measured.layers) {
    BarChart::Group group{layer, {}};
    for (const int bits : measured.bits) group.values.push_back(measured.lost_by({what, layer, bits}));
    if (std::ranges::any_of(group.values, [](const auto& value) { return value.has_value(); }))
      chart.groups.push_back(std::move(group));
  }
  return chart.groups.empty() ? "" : chart_figure(svg(chart));
}

std::string all_measurements(const Measurements& measured) {
  using enum Table::Align;
  Table table{{{"layer", left}, {"quantized", left}, {"bits"}, {"lost"}}, {}};
  const bool has_labels = measured.all[0].top1.has_value();
  for (const char* heading : {"top-1 %", "loss"})
    if (has_labels) table.columns.push_back({heading});
  for (const char* heading : {"agreement %", "divergence", "SQNR dB", "of the layer"})
    table.columns.push_back({heading});
  const auto decibels = [](const std::optional<double>& value) {
    return value && std::isfinite(*value) ? fmt::format("{:.2f}", *value) : "";
  };
  for (const Damage& d : measured.all) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row = {d.probe.layer, enum_name(d.probe.what), d.probe.bits > 0 ? std::to_string(d.probe.bits) : "",
           fmt::format("{:.2f}", lost(d, measured.all[0]))};
    if (has_labels)
      row.insert(row.end(), {fmt::format("{:.2f}", *d.top1), fmt::format("{:.4f}", d.loss.value_or(NAN))});
    row.insert(row.end(), {fmt::format("{:.2f}", d.agreement), fmt::format("{:.3g}", d.divergence), decibels(d.sqnr_db),
                           decibels(d.layer_sqnr_db)});
  }
  return folded("Everything that was measured", explained_table(table));
}

std::string ranking_list(const Measurements& measured) {
  std::vector<std::string> order = measured.layers;
  std::ranges::stable_sort(order, std::greater(), [&](const std::string& layer) { return measured.worst_of(layer); });
  Table table{{{"rank"}, {"layer", Table::Align::left}, {"lost"}}, {}};
  for (size_t i = 0; i < order.size(); ++i)
    table.rows.push_back({std::to_string(i + 1), order[i], fmt::format("{:.2f}", measured.worst_of(order[i]))});
  table.caption = "Layers by the most that any of the measured settings of theirs loses";
  return folded("Ranking", explained_table(table));
}

// Where estimate and measurement agree up to a factor, marks of one color lie on a line that rises by one for one.
std::string estimates(const Measurements& measured, const Json& ranks) {
  Chart chart{.name = "",
              .title = "Noise of the outputs by layer: estimated and measured",
              .x_label = "estimated from gradients, 10 log10",
              .y_label = "measured, -SQNR dB",
              .x_ticks = {},
              .series = {}};
  for (const int bits : measured.bits) {
    Series series{.label = fmt::format("weights, {} bits", bits),
                  .color = color_of_bits(bits),
                  .points = {},
                  .line = Series::Line::none};
    for (const Damage& d : measured.all)
      if (d.probe.what == What::weights && d.probe.bits == bits && d.estimate.value_or(0) > 0 &&
          std::isfinite(d.sqnr_db))
        series.points.push_back({10 * std::log10(*d.estimate), -d.sqnr_db, d.probe.layer});
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return "";
  std::string text = chart_figure(svg(chart));
  Table table{{{"bits W"}, {"rank by SQNR"}, {"rank by divergence"}}, {}};
  const bool has_loss = !ranks.empty() && ranks[0].contains("loss");
  if (has_loss) table.columns.push_back({"rank by loss"});
  for (const Json& rank : ranks) {
    std::vector<std::string>& row = table.rows.emplace_back();
    row.push_back(std::to_string(rank.at("bits").get<int>()));
    for (const char* key : {"sqnr", "divergence", "loss"})
      if (rank.contains(key)) row.push_back(fmt::format("{:.2f}", rank.at(key).get<double>()));
  }
  table.caption =
      "How the estimates rank the layers, beside each measurement (Spearman's correlation: 1 is the same order)";
  text += explained_table(table);
  return section("Estimated without measuring", text);
}

}  // namespace

Report sensitivity_report(const Json& results) {
  const Measurements measured(results);
  Table table = losses_table(measured);
  const std::string unit = measured.all[0].top1 ? "Points of top-1" : "Points of agreement";
  table.caption = fmt::format(
      "{} lost on the calibration images with one layer's weights (W) or what it gives (A) quantized, by bits; below "
      "zero: "
      "gained. With all quantized as the config says: {:.2f}",
      unit, lost(measured.all[1], measured.all[0]));
  std::string body =
      section("Layers", "<div class=\"charts\">\n" + loss_bars(measured, What::weights, "the weights") +
                            loss_bars(measured, What::activations, "the outputs") + "</div>\n" +
                            explained_table(table) + ranking_list(measured) + all_measurements(measured));
  body += estimates(measured, results.at("rank_correlation"));
  return {table, html_page(results, "qgrad sensitivity config.json", body)};
}

}  // namespace qgrad
