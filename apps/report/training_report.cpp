// The page of `qgrad train`: scores, the course of the training, and what was quantized.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/report/chart.h"
#include "apps/report/colors.h"
#include "apps/report/layer_histograms.h"
#include "apps/report/page.h"
#include "apps/report/report.h"
#include "apps/report/results.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

std::vector<std::string> cells_of(const Json& metrics) {
  std::vector<std::string> cells;
  for (const Metric& metric : metrics_of(metrics))
    cells.push_back(fmt::format("{:.{}f}", metrics.at(metric.key).get<double>(), metric.digits));
  return cells;
}

void add_metric_columns(Table& table, const Json& metrics, const std::string& before = "") {
  for (const Metric& metric : metrics_of(metrics)) table.columns.push_back({before + metric.label});
}

void add_row(Table& table, std::vector<std::string> cells, const std::vector<std::string>& more) {
  cells.insert(cells.end(), more.begin(), more.end());
  table.rows.push_back(std::move(cells));
}

Table scores_of(const Json& results) {
  Table table{{{"model", Table::Align::left}}, {}};
  table.caption = fmt::format("Epoch {} of {}, {} in all", results.at("best_epoch").get<int>(),
                              results.at("epochs").size(), format_duration(results.at("seconds").get<double>()));
  add_metric_columns(table, results.at("test"));
  add_row(table, {"trained"}, cells_of(results.at("test")));
  if (results.contains("folded")) add_row(table, {"with its batch norms folded"}, cells_of(results.at("folded")));
  return table;
}

Table epochs_table(const Json& epochs) {
  using enum Table::Align;
  const bool held_out = !epochs.at(0).at("validation").is_null();
  Table table{{{"epoch"}, {"lr"}, {"train loss"}, {"train top-1 %"}}, {}};
  if (held_out) add_metric_columns(table, epochs.at(0).at("validation"), "validation ");
  for (const Json& epoch : epochs)
    add_row(table,
            {std::to_string(epoch.at("epoch").get<int>()), fmt::format("{:.3g}", epoch.at("lr").get<double>()),
             fmt::format("{:.4f}", epoch.at("train_loss").get<double>()),
             fmt::format("{:.2f}", epoch.at("train_top1").get<double>())},
            held_out ? cells_of(epoch.at("validation")) : std::vector<std::string>{});
  return table;
}

// A number of every epoch, by its JSON pointer; no points where epochs have none.
Series course(const Json& epochs, const std::string& label, const char* color, const std::string& pointer) {
  Series series{.label = label, .color = color, .points = {}};
  const Json::json_pointer at(pointer);
  for (const Json& epoch : epochs)
    if (epoch.contains(at) && epoch.at(at).is_number())
      series.points.push_back({epoch.at("epoch").get<double>(), epoch.at(at).get<double>()});
  return series;
}

std::string course_chart(const Json& epochs, const std::string& title, const std::string& y_label,
                         std::vector<Series> all) {
  std::erase_if(all, [](const Series& series) { return series.points.empty(); });
  return chart_figure(svg(Chart{.name = "",
                                .title = title,
                                .x_label = "epoch",
                                .y_label = y_label,
                                .x_ticks = epoch_ticks(static_cast<double>(epochs.size())),
                                .series = std::move(all)}));
}

std::string courses(const Json& epochs) {
  if (epochs.size() < 2) return "";
  const Json& validation = epochs.at(0).at("validation");
  const Metric score = validation.is_null() ? Metric{"top1", "top-1 %", 2} : metrics_of(validation)[0];
  std::vector<Series> scores{course(epochs, "validation", kValidationColor, fmt::format("/validation/{}", score.key))};
  if (std::string(score.key) == "top1")
    scores.insert(scores.begin(), course(epochs, "training", kTrainingColor, "/train_top1"));
  return "<div class=\"charts\">\n" +
         course_chart(epochs, fmt::format("{} by epoch", score.label), score.label, scores) +
         course_chart(epochs, "Loss by epoch", "cross entropy",
                      {course(epochs, "training", kTrainingColor, "/train_loss"),
                       course(epochs, "validation", kValidationColor, "/validation/loss")}) +
         course_chart(epochs, "Learning rate by epoch", "learning rate",
                      {course(epochs, "", kLearningRateColor, "/lr")}) +
         "</div>\n";
}

std::string bits_cell(const Json& bits) { return bits.is_null() ? "" : std::to_string(bits.get<int>()); }

std::string quantized_layers(const Json& results) {
  using enum Table::Align;
  const bool of_inputs = results.at("quantizer").value("quantized_activations", "outputs") == "inputs";
  Table table{{{"layer", left},
               {"kind", left},
               {"bits W"},
               {of_inputs ? "bits of inputs" : "bits A"},
               {"bits B"},
               {"by override", left}},
              {}};
  for (const Json& layer : results.at("layers")) {
    if (layer.at("bits_weights").is_null() && layer.at("bits_activations").is_null() && layer.at("bits_bias").is_null())
      continue;
    table.rows.push_back({layer.at("path").get<std::string>(), layer.at("kind").get<std::string>(),
                          bits_cell(layer.at("bits_weights")), bits_cell(layer.at("bits_activations")),
                          bits_cell(layer.at("bits_bias")),
                          layer.at("pattern").is_null() ? "" : layer.at("pattern").get<std::string>()});
  }
  table.caption = fmt::format("By {}; other layers are left as they are, on what they get",
                              results.at("quantizer").at("class").get<std::string>());
  return section("What was quantized", explained_table(table));
}

std::string numbers_and_levels(const Json& layers) {
  return section("Numbers and levels",
                 paragraph("How many weights lie on each level, from the lowest in use to the highest. Inputs and "
                           "outputs are those of the first training examples, before they are put on the levels of "
                           "their grid; negative ones count as zero where no level is below it.") +
                     layer_histograms(layers));
}

}  // namespace

Report training_report(const Json& results, const Json& facts) {
  const Json& epochs = results.at("epochs");
  const Table table = epochs_table(epochs);
  std::string body = results.contains("running")
                         ? under_way("The training", epochs, results.at("running").at("of_epochs").get<int>())
                         : section("Scores", explained_table(scores_of(results)));
  body += section("Course of the training", courses(epochs) + folded("Every epoch", explained_table(table)));
  if (results.contains("layers")) body += quantized_layers(results);
  if (!facts.is_null()) body += numbers_and_levels(facts.at("layers"));
  return {table, html_page(results, "qgrad train config.json", body)};
}

}  // namespace qgrad
