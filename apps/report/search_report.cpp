// The page of `qgrad search`: what it found, and for bits what every budget allows.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "apps/report/bars.h"
#include "apps/report/chart.h"
#include "apps/report/colors.h"
#include "apps/report/page.h"
#include "apps/report/report.h"

namespace qgrad {
namespace {

struct SearchedPart {
  const char *key, *label, *color;
};
constexpr SearchedPart kSearchedParts[] = {{"weights", "weights", kWeightsColor},
                                           {"activations", "what layers give", kActivationsColor}};
constexpr SearchedPart kOperations[] = {{"bit_operations", "weights and what layers give", kPostTrainColor}};

// What bits are expected to cost: noise as an SQNR in dB, divergence in nats.
double shown(const Json& cost, bool is_noise) {
  return is_noise ? -10 * std::log10(std::max(cost.get<double>(), 1e-12)) : cost.get<double>();
}

// What the budgets of these parts allow, and what was chosen.
std::string front_chart(const Json& results, std::span<const SearchedPart> parts, const char* measure,
                        const char* unit) {
  const bool is_noise = results.at("cost") == "noise";
  Chart chart{.name = "",
              .title = fmt::format("What every budget of {} allows", unit),
              .x_label = unit,
              .y_label = is_noise ? "expected SQNR dB" : "expected divergence in nats",
              .x_ticks = {},
              .series = {}};
  Series chosen{.label = "chosen", .color = kLevelsColor, .points = {}, .line = Series::Line::none};
  for (const auto& [key, label, color] : parts) {
    if (!results.contains(key) || !results.at(key).contains("front")) continue;
    const Json& part = results.at(key);
    Series front{.label = label, .color = color, .points = {}};
    for (const Json& point : part.at("front"))
      front.points.push_back({point.at("budget").get<double>(), shown(point.at("cost"), is_noise)});
    chart.series.push_back(std::move(front));
    chosen.points.push_back({part.at(measure).get<double>(), shown(part.at("expected_cost"), is_noise),
                             fmt::format("chosen for {}", label)});
  }
  if (chart.series.empty()) return "";
  chart.series.push_back(std::move(chosen));
  return chart_figure(svg(chart));
}

std::string trials_chart(const Json& results) {
  if (!results.contains("trials")) return "";
  Series trials{.label = "", .color = kPostTrainColor, .points = {}, .line = Series::Line::none};
  for (const Json& trial : results.at("trials"))
    trials.points.push_back({trial.at("mean_bits").get<double>(), trial.at("lost").get<double>()});
  return chart_figure(svg(Chart{.name = "",
                                .title = "Points lost on the calibration images, by mean bits",
                                .x_label = "mean bits of weights and of what layers give",
                                .y_label = "points lost",
                                .x_ticks = {},
                                .series = {std::move(trials)}}));
}

// A bar for each part of a layer that has bits.
std::string bits_chart(const Json& bits) {
  BarChart chart{.title = "Bits of each layer", .value_label = "bits", .series = {}, .groups = {}};
  for (const auto& [key, label, color] : kSearchedParts) chart.series.push_back({label, color});
  for (const Json& layer : bits) {
    BarChart::Group group{layer.at("layer").get<std::string>(), {}};
    for (const SearchedPart& part : kSearchedParts)
      group.values.push_back(layer.contains(part.key) ? std::optional(layer.at(part.key).get<double>()) : std::nullopt);
    chart.groups.push_back(std::move(group));
  }
  return chart_figure(svg(chart));
}

Table bits_table(const Json& bits) {
  Table table{{{"layer", Table::Align::left}, {"bits W"}, {"bits A"}}, {}};
  for (const Json& layer : bits) {
    const auto cell = [&](const char* key) {
      return layer.contains(key) ? std::to_string(layer.at(key).get<int>()) : "";
    };
    table.rows.push_back({layer.at("layer").get<std::string>(), cell("weights"), cell("activations")});
  }
  return table;
}

// The whole network, judged on the calibration images.
Table judged(const Json& results) {
  Table table{{{"network", Table::Align::left}, {"top-1 %"}, {"agreement %"}, {"divergence"}, {"SQNR dB"}}, {}};
  for (const auto& [key, name] : {std::pair("as_configured", "as the config was"), {"chosen", "with the bits found"}}) {
    const Json& damage = results.at(key);
    const auto cell = [&](const char* of, int digits = 2) {
      return damage.at(of).is_null() ? "-" : fmt::format("{:.{}f}", damage.at(of).get<double>(), digits);
    };
    table.rows.push_back({name, cell("top1"), cell("agreement"), cell("divergence", 4), cell("sqnr_db")});
  }
  table.caption = "On the calibration images, before corrections";
  return table;
}

// Of searches that found other things than bits: their numbers.
Table numbers_table(const Json& results) {
  Table table{{{"", Table::Align::left}, {"value"}}, {}};
  for (const auto& [key, label] : {std::pair("first_loss", "loss on the calibration images, at first"),
                                   {"loss", "loss on the calibration images, found"},
                                   {"calibration_top1", "top-1 % on the calibration images"},
                                   {"evaluations", "evaluations"}})
    if (results.contains(key)) table.rows.push_back({label, fmt::format("{:.6g}", results.at(key).get<double>())});
  return table;
}

}  // namespace

Report search_report(const Json& results) {
  const std::string next =
      paragraph("What was found is in quantize.json beside this page, a config for qgrad quantize.");
  if (!results.contains("bits")) {
    const Table table = numbers_table(results);
    return {table, html_page(results, "qgrad search config.json", section("Found", explained_table(table) + next))};
  }
  const Table table = bits_table(results.at("bits"));
  std::string body = section("Found", explained_table(judged(results)) + next);
  body += section(
      "Budgets",
      "<div class=\"charts\">\n" + front_chart(results, kSearchedParts, "mean_bits", "mean bits") +
          front_chart(results, kOperations, "share", "bit operations, those of 8 bits being 1") +
          trials_chart(results) + "</div>\n" +
          paragraph("Each point is the best choice of bits for that budget, where what single layers cost adds up."));
  body += section("Layers", bits_chart(results.at("bits")) + explained_table(table));
  return {table, html_page(results, "qgrad search config.json", body)};
}

}  // namespace qgrad
