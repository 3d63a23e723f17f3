// The page of `qgrad quantize`: what was lost, layer by layer, class by class, and on which images.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/bars.h"
#include "apps/report/colors.h"
#include "apps/report/layer_histograms.h"
#include "apps/report/mistakes.h"
#include "apps/report/page.h"
#include "apps/report/report.h"
#include "apps/report/results.h"

namespace qgrad {
namespace {

constexpr size_t kMostBars = 60;

// A metric that may be no number.
std::string fixed(const Json& value, int digits) {
  return value.is_null() ? "-" : fmt::format("{:.{}f}", value.get<double>(), digits);
}

std::string fitting(const Json& value) { return fmt::format("{:.3g}", value.get<double>()); }

Table label_scores(const Json& results) {
  Table table{{{"network", Table::Align::left}, {"top-1 %"}, {"change"}, {"top-5 %"}, {"loss"}, {"size"}, {"images/s"}},
              {}};
  const Json& reference = results.at("float");
  const auto add = [&](const char* name, const Json& metrics, const char* color, const std::string& size,
                       const std::string& speed) {
    const double top1 = metrics.at("top1").get<double>(), change = top1 - reference.at("top1").get<double>();
    table.rows.push_back({name, fixed(metrics.at("top1"), 2),
                          &metrics == &reference ? "" : fmt::format("{:+.2f} points", change),
                          fixed(metrics.at("top5"), 2), fixed(metrics.at("loss"), 4), size, speed});
    table.columns[1].bars.push_back({top1, color});
  };
  add("float", reference, kFloatColor, "", "");
  const Json& program = results.at("program");
  const bool runs = program.contains("top1");
  add("quantized, in simulation", results.at("quantized"), kPostTrainColor,
      bytes_text(results.at("model_bytes").get<double>()),
      runs ? fixed(program.at("simulated_images_per_second"), 0) : "");
  if (runs)
    add("quantized, as integer program", program, kPostTrainColor, bytes_text(program.at("bytes").get<double>()),
        fixed(program.at("images_per_second"), 0));
  return table;
}

Table agreement_scores(const Json& results) {
  Table table{{{"output", Table::Align::left}, {"images"}, {"agreement %"}, {"SQNR dB"}, {"cosine"}}, {}};
  for (const Json& output : results.at("agreement"))
    table.rows.push_back({output.at("output").is_null() ? "the output" : output.at("output").get<std::string>(),
                          std::to_string(output.at("images").get<int64_t>()), fixed(output.at("top1_agreement"), 2),
                          fixed(output.at("sqnr_db"), 2), fixed(output.at("cosine"), 5)});
  table.caption = "The images have no labels: the quantized network is compared with the float one.";
  return table;
}

std::string scores(const Json& results) {
  if (results.contains("agreement")) return section("Scores", explained_table(agreement_scores(results)));
  std::string text = explained_table(label_scores(results));
  if (results.at("program").contains("refused"))
    text += paragraph("There is no integer program: " + results.at("program").at("refused").get<std::string>());
  return section("Scores", text);
}

// What was gathered of one layer; null where it was not seen.
const Json* facts_of(const Json& layer, const Json& facts) {
  for (const Json& of : facts.at("layers"))
    if (of.at("path") == layer.at("path")) return &of;
  return nullptr;
}

std::string bits_of_part(const Json* facts, const char* part) {
  if (!facts || !facts->contains(part) || facts->at(part).at("bits").is_null()) return "";
  return std::to_string(facts->at(part).at("bits").get<int>());
}

std::string step_of_part(const Json* facts, const char* part) {
  if (!facts || !facts->contains(part) || !facts->at(part).contains("least_step")) return "";
  const Json& tensor = facts->at(part);
  const std::string least = fitting(tensor.at("least_step")), largest = fitting(tensor.at("largest_step"));
  return least == largest ? least : least + " to " + largest;
}

Table layers_table(const Json& results, const Json& facts) {
  using enum Table::Align;
  Table table{{{"layer", left},
               {"kind", left},
               {"bits W"},
               {"bits A"},
               {"SQNR dB"},
               {"saturated"},
               {"cosine"},
               {"step of W"},
               {"step of A"}},
              {}};
  for (const Json& layer : results.at("layers")) {
    const Json* of = facts_of(layer, facts);
    table.rows.push_back({layer.at("path").get<std::string>(), layer.at("kind").get<std::string>(),
                          bits_of_part(of, "weights"), bits_of_part(of, "output"), fixed(layer.at("sqnr_db"), 2),
                          fmt::format("{:.3f} %", 100 * layer.at("saturation").get<double>()),
                          fixed(layer.at("cosine"), 5), step_of_part(of, "weights"), step_of_part(of, "output")});
  }
  table.caption = "Worst first: what each layer adds to the error by itself";
  return table;
}

BarChart noise_chart(const Json& results) {
  BarChart chart{
      .title = "SQNR by layer, worst first", .value_label = "dB; more is better", .series = {}, .groups = {}};
  chart.series = {{"", kPostTrainColor}};
  for (const Json& layer : results.at("layers"))
    if (!layer.at("sqnr_db").is_null() && chart.groups.size() < kMostBars)
      chart.groups.push_back({layer.at("path").get<std::string>(), {layer.at("sqnr_db").get<double>()}});
  return chart;
}

}  // namespace

Report quantization_report(const Json& results, const Json& facts) {
  const Table table = layers_table(results, facts);
  std::string body = scores(results);
  // A quantizer may have no layers of integers to compare.
  if (!table.rows.empty()) body += section("Layers", explained_table(table) + chart_figure(svg(noise_chart(results))));
  if (!facts.at("layers").empty())
    body += section(
        "Numbers and levels",
        paragraph("The numbers of the float network, and the levels that quantization puts them on. Outputs are "
                  "those of one batch of calibration images.") +
            layer_histograms(facts.at("layers")));
  if (facts.contains("confusion")) body += section("Classes", confused_classes(facts.at("confusion")));
  if (facts.contains("images")) body += section("Images that are lost", lost_images_sheet(facts.at("images")));
  return {table, html_page(results, "qgrad quantize config.json", body)};
}

}  // namespace qgrad
