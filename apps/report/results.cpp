// Rows into tables and charts.
#include "apps/report/results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "apps/report/colors.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr RowKind kKinds[] = {{"float", "float", kFloatColor},
                              {"post-train", "post-training", kPostTrainColor},
                              {"quant-aware-train", "quantization-aware training", kQuantAwareColor}};
// Of single rows: none is a kind's.
constexpr const char* kLineColors[] = {"#2e8b57", "#8a4fbf", "#b8860b", "#c03a6b",
                                       "#4d7c8a", "#7a5c3e", "#17becf", "#98bf21"};

const RowKind& kind_of(const Json& row) {
  for (const RowKind& kind : kKinds)
    if (row.at("kind") == kind.id) return kind;
  return kKinds[0];
}

// The first, or null.
const Json* float_row(const Json& results) {
  for (const Json& row : results.at("rows"))
    if (row.at("kind") == "float") return &row;
  return nullptr;
}

// "4/8": weights, activations; 32 where they are float.
std::string bits_text(const Json& row) {
  const auto one = [&](const char* key) {
    return row.at(key).is_null() ? std::string("32") : std::to_string(row.at(key).get<int>());
  };
  return one("bits_weights") + "/" + one("bits_activations");
}

bool has_program(const Json* row) { return row->contains("program") && row->at("program").contains("top1"); }

// JSON has null for what is no number, such as the loss of a broken model.
double number(const Json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::vector<Chart> accuracy_chart(const Json& results) {
  std::map<std::string, std::map<int, double>> best;
  std::map<int, bool> widths;
  const auto take = [&](const Json& row, double score) {
    if (row.at("bits_weights").is_null() || row.at("bits_weights") != row.at("bits_activations")) return;
    const int bits = row.at("bits_weights").get<int>();
    widths[bits] = true;
    double& entry = best[row.at("kind").get<std::string>()].try_emplace(bits, -1.0).first->second;
    entry = std::max(entry, score);
  };
  for (const RowGroup& group : row_groups(results))
    take(group.first(), group.mean(fmt::format("/{}", metrics_of(group.first())[0].key)));
  for (const Json& row : results.at("rows"))
    if (row.contains("matrix")) take(row, score_of(row));
  if (widths.size() < 2) return {};
  const char* label = metrics_of(results.at("rows")[0])[0].label;
  Chart chart{.name = "accuracy",
              .title = fmt::format("{} by bits of weights and activations", label),
              .x_label = "bits",
              .y_label = label,
              .x_ticks = {},
              .series = {},
              .descending_x = true};
  for (const auto& [bits, seen] : widths) chart.x_ticks.push_back(bits);
  for (const RowKind& kind : kKinds)
    if (const auto it = best.find(kind.id); it != best.end()) {
      Series series{.label = kind.label, .color = kind.color, .points = {}};
      for (const auto& [bits, score] : it->second) series.points.push_back({static_cast<double>(bits), score});
      chart.series.push_back(std::move(series));
    }
  if (const Json* reference = float_row(results)) {
    const double y = score_of(*reference);
    chart.series.push_back({.label = "float",
                            .color = kKinds[0].color,
                            .points = {{chart.x_ticks.front(), y}, {chart.x_ticks.back(), y}},
                            .line = Series::Line::dashed});
  }
  return {chart};
}

// The first epoch's metrics of held-out images; null where no row has any.
Json held_out_metrics(const Json& results) {
  for (const Json& row : results.at("rows"))
    for (const Json& epoch : row.value("epochs", Json::array()))
      if (!epoch.at("validation").is_null()) return epoch.at("validation");
  return nullptr;
}

// After each epoch the score on held-out images; where nothing is held out, the top-1 on the training images.
std::vector<Series::Point> training_scores(const Json& row) {
  std::vector<Series::Point> points;
  for (const Json& epoch : row.value("epochs", Json::array())) {
    const Json& validation = epoch.at("validation");
    points.push_back({epoch.at("epoch").get<double>(),
                      validation.is_null() ? epoch.at("train_top1").get<double>() : score_of(validation)});
  }
  return points;
}

// The n-th row's, another for every n: the list, then hues that are far from one another.
std::string line_color(size_t n) {
  constexpr size_t kListed = std::size(kLineColors);
  if (n < kListed) return kLineColors[n];
  return fmt::format("hsl({:.0f}, 55%, {}%)", std::fmod(137.508 * static_cast<double>(n), 360), n % 2 ? 62 : 32);
}

std::vector<Chart> training_charts(Json results) {
  if (results.contains("running")) results["rows"].push_back(results["running"]);
  const std::vector<RowGroup> groups = row_groups(results);
  const auto trained =
      std::ranges::count_if(groups, [](const RowGroup& group) { return !training_scores(group.first()).empty(); });
  const bool split = trained > static_cast<std::ptrdiff_t>(std::size(kLineColors));
  const Json metrics = held_out_metrics(results);
  const bool held_out = !metrics.is_null();
  const char* label = held_out ? metrics_of(metrics)[0].label : "top-1 %";
  std::vector<Chart> all;
  std::vector<std::string> widths;  // of the charts
  size_t lines = 0;                 // of all charts, so that a color is one row's alone
  for (const RowGroup& group : groups) {
    if (training_scores(group.first()).empty()) continue;
    const std::string width = split ? bits_text(group.first()) : "";
    const auto place = std::ranges::find(widths, width) - widths.begin();
    if (place == static_cast<std::ptrdiff_t>(widths.size())) {
      std::string name = split ? "training_" + width : "training";
      std::ranges::replace(name, '/', '-');
      widths.push_back(width);
      all.push_back({.name = name,
                     .title = fmt::format("Training{}: {} on the {} images by epoch", split ? " at " + width : "",
                                          label, held_out ? "validation" : "training"),
                     .x_label = "epoch",
                     .y_label = label,
                     .x_ticks = {},
                     .series = {}});
    }
    Chart& chart = all[static_cast<size_t>(place)];
    const std::string color = group.first().at("kind") == "float" ? kKinds[0].color : line_color(lines++);
    for (const Json* row : group.rows)
      chart.series.push_back(
          {.label = row == group.rows[0] ? group.name : "", .color = color, .points = training_scores(*row)});
  }
  for (Chart& chart : all) {
    double longest = 1;
    for (const Series& series : chart.series) longest = std::max(longest, series.points.back().x);
    chart.x_ticks = epoch_ticks(longest);
  }
  std::erase_if(all, [](const Chart& chart) { return chart.x_ticks.size() < 2; });
  return all;
}

// The score of every row over something that it costs; none where fewer than two rows say it.
std::vector<Chart> cost_chart(const Json& results, const std::string& name, const std::string& x_label,
                              const std::function<std::optional<double>(const Json& row)>& cost) {
  const char* label = metrics_of(results.at("rows")[0])[0].label;
  Chart chart{.name = name,
              .title = fmt::format("{} by {}", label, x_label),
              .x_label = x_label,
              .y_label = label,
              .x_ticks = {},
              .series = {}};
  size_t marks = 0;
  for (const RowKind& kind : kKinds) {
    Series series{.label = kind.label, .color = kind.color, .points = {}, .line = Series::Line::none};
    for (const Json& row : results.at("rows"))
      if (const auto x = cost(row); x && row.at("kind") == kind.id && std::isfinite(score_of(row)))
        series.points.push_back({*x, score_of(row), row.at("name").get<std::string>()});
    marks += series.points.size();
    if (!series.points.empty()) chart.series.push_back(std::move(series));
  }
  return marks < 2 ? std::vector<Chart>{} : std::vector<Chart>{chart};
}

}  // namespace

void check_results(const Config& results) {
  const auto check_type = []<class T>(const Config& at, T value) { read_onto(value, at); };
  check_type(results.at("command"), std::string());
  check_type(results.at("config"), Json());
  std::vector<Config> rows;
  read_onto(rows, results.at("rows"));
  for (const Config& row : rows) {
    for (const char* key : {"name", "kind"}) check_type(row.at(key), std::string());
    for (const char* key : {"bits_weights", "bits_activations"}) check_type(row.at(key), std::optional<int>());
    for (const char* key : {"model_bytes", "seconds"}) check_type(row.at(key), 0.0);
    for (const Metric& metric : metrics_of(row.json())) check_type(row.at(metric.key), std::optional<double>());
    if (row.has("row")) check_type(row.at("row"), std::string());
    if (row.has("matrix")) {
      check_type(row.at("matrix"), std::string());
      check_type(row.at("coordinates"), std::vector<std::string>());
    }
    if (row.has("program") && row.at("program").has("top1")) {
      const Config program = row.at("program");
      for (const char* key : {"top1", "images_per_second", "simulated_images_per_second"})
        check_type(program.at(key), std::optional<double>());
      check_type(program.at("bytes"), 0.0);
    }
    std::vector<Config> epochs;
    read_onto(epochs, row.at("epochs"));
    for (const Config& epoch : epochs) {
      for (const char* key : {"epoch", "train_top1"}) check_type(epoch.at(key), 0.0);
      const Config validation = epoch.at("validation");
      if (!validation.json().is_null())
        check_type(validation.at(metrics_of(validation.json())[0].key), std::optional<double>());
    }
  }
}

std::vector<Metric> metrics_of(const Json& row) {
  if (row.contains("hit_rate_at_10")) return {{"hit_rate_at_10", "HR@10 %", 2}, {"ndcg_at_10", "NDCG@10 %", 2}};
  return {{"top1", "top-1 %", 2}, {"top5", "top-5 %", 2}, {"loss", "loss", 4}};
}

double score_of(const Json& row) { return number(row.at(metrics_of(row)[0].key)); }

double RowGroup::mean(const std::string& pointer) const {
  double sum = 0;
  for (const Json* row : rows) sum += number(row->at(Json::json_pointer(pointer)));
  return sum / static_cast<double>(rows.size());
}

double RowGroup::deviation(const std::string& pointer) const {
  const double middle = mean(pointer);
  double sum = 0;
  for (const Json* row : rows) sum += std::pow(number(row->at(Json::json_pointer(pointer))) - middle, 2);
  return std::sqrt(sum / static_cast<double>(rows.size() - 1));
}

std::vector<RowGroup> row_groups(const Json& results) {
  std::vector<RowGroup> groups;
  for (const Json& row : results.at("rows")) {
    if (row.contains("matrix")) continue;
    const std::string name = row.value("row", row.at("name").get<std::string>());
    if (groups.empty() || groups.back().name != name) groups.push_back({name, {}});
    groups.back().rows.push_back(&row);
  }
  return groups;
}

std::vector<RowGroup> single_rows(const Json& results) {
  std::vector<RowGroup> rows;
  for (const Json& row : results.at("rows")) rows.push_back({row.at("name").get<std::string>(), {&row}});
  return rows;
}

Table rows_table(const Json& results, const std::vector<RowGroup>& groups) {
  if (groups.empty()) return {};
  const Json* reference = float_row(results);
  Table table{{{"row", Table::Align::left}, {"W/A"}}, std::vector<std::vector<std::string>>(groups.size())};
  const auto column = [&](const std::string& heading, const auto& text) {
    table.columns.push_back({heading});
    for (size_t i = 0; i < groups.size(); ++i) table.rows[i].push_back(text(groups[i]));
  };
  const auto mean = [](const std::string& pointer, int digits) {
    return [=](const RowGroup& group) { return fmt::format("{:.{}f}", group.mean(pointer), digits); };
  };
  const auto of_program = [](const auto& text) {
    return [=](const RowGroup& group) { return std::ranges::all_of(group.rows, has_program) ? text(group) : "-"; };
  };
  for (size_t i = 0; i < groups.size(); ++i) table.rows[i] = {groups[i].name, bits_text(groups[i].first())};
  const std::vector<Metric> metrics = metrics_of(groups[0].first());
  const std::string score = fmt::format("/{}", metrics[0].key);
  column(metrics[0].label, [&](const RowGroup& group) {
    const std::string spread = group.rows.size() > 1 ? fmt::format(" ± {:.2f}", group.deviation(score)) : "";
    return mean(score, metrics[0].digits)(group) + spread;
  });
  for (const RowGroup& group : groups)
    table.columns.back().bars.push_back({group.mean(score), kind_of(group.first()).color});
  column("change", [&](const RowGroup& group) {
    const bool has_change = reference && group.first().at("kind") != "float";
    return has_change ? fmt::format("{:+.2f}", group.mean(score) - score_of(*reference)) : "";
  });
  for (const Metric& metric : std::span(metrics).subspan(1))
    column(metric.label, mean(fmt::format("/{}", metric.key), metric.digits));
  column("weights", [](const RowGroup& group) { return bytes_text(group.mean("/model_bytes")); });
  column("engine %", of_program(mean("/program/top1", 2)));
  column("images/s", of_program(mean("/program/images_per_second", 0)));
  column("simulated", of_program(mean("/program/simulated_images_per_second", 0)));
  column("program", of_program([](const RowGroup& group) { return bytes_text(group.mean("/program/bytes")); }));
  column("epochs", [](const RowGroup& group) {
    const size_t epochs = group.first().value("epochs", Json::array()).size();
    return epochs > 0 ? std::to_string(epochs) : "";
  });
  column("time", [](const RowGroup& group) { return format_duration(group.mean("/seconds")); });
  return table;
}

Table matrix_table(const Json& results, const std::string& title) {
  Table table{{{"", Table::Align::left}}, {}};
  std::vector<std::vector<std::string>>& lines = table.rows;
  for (const Json& row : results.at("rows")) {
    if (row.value("matrix", "") != title) continue;
    const auto coordinates = row.at("coordinates").get<std::vector<std::string>>();
    auto column = std::ranges::find(table.columns, coordinates[0], &Table::Column::heading);
    if (column == table.columns.end()) column = table.columns.insert(column, {coordinates[0]});
    const std::string name = fmt::format("{}", fmt::join(std::span(coordinates).subspan(1), ", "));
    auto line = std::ranges::find(lines, name, [](const auto& cells) { return cells[0]; });
    if (line == lines.end()) line = lines.insert(line, {name});
    line->resize(table.columns.size());
    (*line)[static_cast<size_t>(column - table.columns.begin())] = fmt::format("{:.2f}", score_of(row));
  }
  for (auto& line : lines) line.resize(table.columns.size());
  return table;
}

std::vector<std::string> matrices_of(const Json& results) {
  std::vector<std::string> titles;
  for (const Json& row : results.at("rows")) {
    const std::string title = row.value("matrix", "");
    if (row.contains("matrix") && std::ranges::find(titles, title) == titles.end()) titles.push_back(title);
  }
  return titles;
}

std::vector<RowKind> kinds_of(const Json& results) {
  std::vector<RowKind> kinds;
  for (const RowKind& kind : kKinds)
    if (std::ranges::any_of(results.at("rows"), [&](const Json& row) { return row.at("kind") == kind.id; }))
      kinds.push_back(kind);
  return kinds;
}

std::vector<Chart> charts(const Json& results) {
  std::vector<Chart> all = accuracy_chart(results);
  for (Chart& chart : training_charts(results)) all.push_back(std::move(chart));
  return all;
}

std::vector<Chart> cost_charts(const Json& results) {
  if (results.at("rows").empty()) return {};
  std::vector<Chart> all = cost_chart(results, "size", "size of the weights in kB",
                                      [](const Json& row) { return row.at("model_bytes").get<double>() / 1e3; });
  const auto speed = [](const Json& row) {
    const bool runs = has_program(&row) && row.at("program").at("images_per_second").is_number();
    return runs ? std::optional(row.at("program").at("images_per_second").get<double>()) : std::nullopt;
  };
  for (Chart& chart : cost_chart(results, "speed", "images per second of the integer program", speed))
    all.push_back(std::move(chart));
  return all;
}

std::vector<double> epoch_ticks(double last) {
  std::vector<double> ticks;
  const double step = std::max(1.0, std::floor((last + 9) / 10));
  for (double epoch = 1; epoch <= last; epoch += step) ticks.push_back(epoch);
  if (ticks.empty() || ticks.back() < last) ticks.push_back(last);
  return ticks;
}

std::string bytes_text(double bytes) {
  if (bytes < 1000) return fmt::format("{:.0f} B", bytes);
  return bytes < 1e6 ? fmt::format("{:.1f} kB", bytes / 1e3) : fmt::format("{:.2f} MB", bytes / 1e6);
}

}  // namespace qgrad
